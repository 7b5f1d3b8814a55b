//! What an embedder serves itself: resources that are not stored, and subresources.

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::{
    DeleteOptions, Deleted, ListOptions, ObjectWatch, Patch, Query, Status, UserInfo, WatchOptions,
    WriteOptions,
};

/// Who asks for which object of a virtual resource.
#[derive(Debug, Clone)]
pub struct VirtualRequest {
    /// The caller.
    pub user: UserInfo,
    /// The namespace; empty for all, or for a cluster-scoped resource.
    pub namespace: String,
    /// The name; empty for lists.
    pub name: String,
}

/// A page of a virtual list.
#[derive(Debug, Clone, Default)]
pub struct VirtualList {
    /// The objects, whole: with `apiVersion`, `kind` and `metadata`.
    pub items: Vec<Value>,
    /// The revision that the list shows.
    pub resource_version: String,
    /// Where the next page begins; empty at the end.
    pub continue_token: String,
    /// How many follow, if it is known.
    pub remaining: Option<usize>,
}

/// A resource whose objects are computed. Selectors, limit and continue are the implementation's to honour.
#[async_trait]
pub trait VirtualResource: Send + Sync {
    /// Reads one object.
    async fn get(&self, request: &VirtualRequest) -> Result<Value, Status>;

    /// Reads a page of objects.
    async fn list(
        &self,
        request: &VirtualRequest,
        options: &ListOptions,
    ) -> Result<VirtualList, Status>;

    /// Watches; refused unless it is offered.
    async fn watch(
        &self,
        _request: &VirtualRequest,
        _options: &WatchOptions,
    ) -> Result<ObjectWatch, Status> {
        Err(Status::method_not_allowed())
    }

    /// Creates; refused unless it is offered.
    async fn create(
        &self,
        _request: &VirtualRequest,
        _object: Value,
        _options: &WriteOptions,
    ) -> Result<Value, Status> {
        Err(Status::method_not_allowed())
    }

    /// Replaces; refused unless it is offered.
    async fn update(
        &self,
        _request: &VirtualRequest,
        _object: Value,
        _options: &WriteOptions,
    ) -> Result<Value, Status> {
        Err(Status::method_not_allowed())
    }

    /// Changes; refused unless it is offered.
    async fn patch(
        &self,
        _request: &VirtualRequest,
        _patch: &Patch,
        _options: &WriteOptions,
    ) -> Result<Value, Status> {
        Err(Status::method_not_allowed())
    }

    /// Deletes; refused unless it is offered.
    async fn delete(
        &self,
        _request: &VirtualRequest,
        _options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        Err(Status::method_not_allowed())
    }
}

/// A request to a subresource.
#[derive(Debug, Clone)]
pub struct SubresourceRequest {
    /// The caller.
    pub user: UserInfo,
    /// The namespace; empty for a cluster-scoped resource.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The subresource, with what follows it in the path.
    pub subresource: String,
    /// The method.
    pub method: Method,
    /// The query.
    pub query: Query,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl SubresourceRequest {
    /// Reads the body as JSON or YAML, by its content type; an empty body is `null`.
    pub fn object(&self) -> Result<Value, Status> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        crate::http::read_body(&self.headers, &self.body, "JSON")
    }
}

/// The answer of a subresource.
pub enum SubresourceResponse {
    /// An object.
    Object(Value),
    /// An object with another code than 200.
    Coded(u16, Value),
    /// Anything.
    Raw(http::Response<crate::Body>),
}

/// Serves a subresource that an embedder adds.
#[async_trait]
pub trait SubresourceHandler: Send + Sync {
    /// Answers one request; the caller is allowed to make it.
    async fn handle(&self, request: SubresourceRequest) -> Result<SubresourceResponse, Status>;
}
