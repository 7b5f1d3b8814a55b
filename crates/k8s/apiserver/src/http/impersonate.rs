//! Acting as somebody else.

use http::HeaderMap;

use super::Server;
use crate::auth::Attributes;
use crate::{Status, UserInfo};

const EXTRA: &str = "impersonate-extra-";

impl Server {
    /// Reads who the caller wants to be, and checks that it may.
    pub(super) async fn impersonate(
        &self,
        caller: &UserInfo,
        headers: &HeaderMap,
    ) -> Result<Option<UserInfo>, Status> {
        let all = |name: &str| -> Vec<String> {
            headers
                .get_all(name)
                .iter()
                .filter_map(|value| Some(value.to_str().ok()?.to_owned()))
                .collect()
        };
        let one = |name: &str| all(name).into_iter().next().unwrap_or_default();
        let mut wanted = UserInfo {
            name: one("impersonate-user"),
            groups: all("impersonate-group"),
            uid: one("impersonate-uid"),
            ..UserInfo::default()
        };
        for name in headers.keys() {
            if let Some(key) = name.as_str().strip_prefix(EXTRA) {
                let key = super::request::decode(key, false);
                wanted.extra.insert(key, all(name.as_str()));
            }
        }
        if wanted.name.is_empty() {
            if wanted == UserInfo::default() {
                return Ok(None);
            }
            return Err(Status::bad_request(format!(
                "requested {} without impersonating a user name",
                go_text(&wanted)
            )));
        }
        let attributes = |group: &str, resource: &str, name: &str| Attributes {
            verb: "impersonate".to_owned(),
            group: group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        };
        let account = wanted
            .name
            .strip_prefix("system:serviceaccount:")
            .and_then(|rest| rest.split_once(':'))
            .map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
        match &account {
            Some((namespace, name)) => {
                let mut asked = attributes("", "serviceaccounts", name);
                asked.namespace.clone_from(namespace);
                self.require(caller, &asked).await?;
            }
            None => {
                self.require(caller, &attributes("", "users", &wanted.name))
                    .await?;
            }
        }
        for group in &wanted.groups {
            self.require(caller, &attributes("", "groups", group))
                .await?;
        }
        const AUTHENTICATION: &str = "authentication.k8s.io";
        if !wanted.uid.is_empty() {
            self.require(caller, &attributes(AUTHENTICATION, "uids", &wanted.uid))
                .await?;
        }
        for (key, values) in &wanted.extra {
            for value in values {
                let mut asked = attributes(AUTHENTICATION, "userextras", value);
                asked.subresource.clone_from(key);
                self.require(caller, &asked).await?;
            }
        }
        if let (Some((namespace, _)), true) = (&account, wanted.groups.is_empty()) {
            wanted.groups = vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
            ];
        }
        let everybody = if wanted.name == "system:anonymous" {
            "system:unauthenticated"
        } else {
            "system:authenticated"
        };
        if !wanted.in_group(everybody) {
            wanted.groups.push(everybody.to_owned());
        }
        Ok(Some(wanted))
    }
}

/// Somebody as Go's `%#v` has them.
fn go_text(user: &UserInfo) -> String {
    let quoted = |texts: &[String]| -> String {
        let texts: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
        format!("[]string{{{}}}", texts.join(", "))
    };
    let groups = if user.groups.is_empty() {
        "[]string(nil)".to_owned()
    } else {
        quoted(&user.groups)
    };
    let extra = if user.extra.is_empty() {
        "(nil)".to_owned()
    } else {
        let all: Vec<String> = user
            .extra
            .iter()
            .map(|(key, values)| format!("{key:?}:{}", quoted(values)))
            .collect();
        format!("{{{}}}", all.join(", "))
    };
    format!(
        "&user.DefaultInfo{{Name:{:?}, UID:{:?}, Groups:{groups}, Extra:map[string][]string{extra}}}",
        user.name, user.uid
    )
}
