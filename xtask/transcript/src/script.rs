//! Scripts: requests in a row.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::mask;

/// One request of a script.
///
/// ```text
/// === title
/// POST /api/v1/namespaces/NS/configmaps
/// Header: value
/// Save: name=/pointer    keeps a part of the answer, for ${name} in later requests
/// Show: /pointer         compares these parts of the answer alone
/// Until: 200             asks again until the answer has this code
/// Body: 3145729          a body of so many bytes, instead of one that is written out
///
/// body, in YAML; sent as JSON unless the content type is application/yaml, or it begins with "raw "
/// ```
#[derive(Debug, Clone)]
pub struct Step {
    /// What it is about; every step of a script has another.
    pub title: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    saves: Vec<(String, String)>,
    shows: Vec<String>,
    /// Ask again until the answer has this code.
    pub until: Option<u16>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Reads a script.
pub fn parse(text: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    for part in text.split("\n=== ").skip(1) {
        let (title, rest) = part.split_once('\n').ok_or("a title and nothing else")?;
        let step = one(title, rest).map_err(|error| format!("{title}: {error}"))?;
        if steps.iter().any(|other| other.title == step.title) {
            return Err(format!("{title} stands twice"));
        }
        steps.push(step);
    }
    Ok(steps)
}

fn one(title: &str, rest: &str) -> Result<Step, String> {
    let (head, body) = rest.split_once("\n\n").unwrap_or((rest, ""));
    let mut lines = head.trim_end().lines();
    let (method, path) = lines
        .next()
        .and_then(|line| line.split_once(' '))
        .ok_or("no request line")?;
    let mut step = Step {
        title: title.trim().to_owned(),
        method: method.to_owned(),
        path: path.trim().to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        saves: Vec::new(),
        shows: Vec::new(),
        until: None,
    };
    for line in lines {
        let (name, value) = line
            .split_once(": ")
            .ok_or_else(|| format!("no header: {line}"))?;
        match name {
            "Save" => {
                let (name, pointer) = value.split_once('=').ok_or("Save wants name=/pointer")?;
                step.saves.push((name.to_owned(), pointer.to_owned()));
            }
            "Until" => step.until = Some(value.parse().map_err(|_| "Until wants a code")?),
            "Body" => step.body = vec![b' '; value.parse().map_err(|_| "Body wants a length")?],
            "Show" => step.shows.push(value.to_owned()),
            _ => step
                .headers
                .push((name.to_ascii_lowercase(), value.to_owned())),
        }
    }
    let content = step.headers.iter().find(|(name, _)| name == "content-type");
    let content = content.map(|(_, value)| value.clone());
    let body = body.trim_end();
    if let Some(raw) = body.strip_prefix("raw ") {
        step.body = raw.as_bytes().to_vec();
    } else if content.as_deref() == Some("application/yaml") {
        step.body = format!("{body}\n").into_bytes();
    } else if !body.trim().is_empty() {
        let documents = base_yaml::parse_documents(body, "body").map_err(|e| e.to_string())?;
        let document = documents.into_iter().next().ok_or("an empty body")?;
        step.body = document.value.to_string().into_bytes();
    }
    if !step.body.is_empty() && content.is_none() {
        step.headers
            .push(("content-type".to_owned(), "application/json".to_owned()));
    }
    Ok(step)
}

impl Step {
    /// Creates an object.
    pub fn post(path: &str, object: &Value) -> Self {
        Self {
            title: path.to_owned(),
            method: "POST".to_owned(),
            path: path.to_owned(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: object.to_string().into_bytes(),
            saves: Vec::new(),
            shows: Vec::new(),
            until: None,
        }
    }

    /// Puts in what was kept.
    pub fn with(&self, saved: &BTreeMap<String, String>) -> Self {
        let fill = |text: &str| {
            let mut text = text.to_owned();
            for (name, value) in saved {
                text = text.replace(&format!("${{{name}}}"), value);
            }
            text
        };
        let mut step = self.clone();
        step.path = fill(&step.path);
        if let Ok(text) = std::str::from_utf8(&step.body) {
            step.body = fill(text).into_bytes();
        }
        step
    }

    /// Keeps what later requests need.
    pub fn save(
        &self,
        answered: &Answered,
        saved: &mut BTreeMap<String, String>,
    ) -> Result<(), String> {
        let body: Value = serde_json::from_slice(&answered.body).unwrap_or_default();
        for (name, pointer) in &self.saves {
            let found = body.pointer(pointer);
            let text = match found {
                Some(Value::String(text)) => text.clone(),
                other => return Err(format!("{}: {pointer} is {other:?} in {body}", self.title)),
            };
            saved.insert(name.clone(), text);
        }
        Ok(())
    }

    /// The answer as it is compared.
    pub fn shown(&self, answered: &Answered) -> Value {
        let mut out = json!({"status": answered.status});
        let header = |wanted: &str| -> Vec<&str> {
            let all = answered.headers.iter();
            all.filter(|(name, _)| name == wanted)
                .map(|(_, value)| value.as_str())
                .collect()
        };
        for name in [
            "content-type",
            "warning",
            "allow",
            "accept-patch",
            "location",
            "retry-after",
            "vary",
            "cache-control",
        ] {
            let mut values = header(name);
            if name == "warning" {
                // what is found in a map comes in any order
                values.sort_unstable();
            }
            if !values.is_empty() {
                out[name] = json!(values);
            }
        }
        let text = String::from_utf8_lossy(&answered.body);
        let whole: Option<Value> = serde_json::from_slice(&answered.body).ok();
        let lines: Option<Vec<Value>> = text
            .lines()
            .map(|line| serde_json::from_str(line).ok())
            .collect();
        let body = match (whole, lines) {
            (Some(whole), _) => whole,
            (None, Some(lines)) => json!(lines),
            (None, None) => json!(text),
        };
        let body = if self.shows.is_empty() {
            body
        } else {
            let shown = self.shows.iter().map(|pointer| {
                let part = body.pointer(pointer).cloned().unwrap_or_default();
                (pointer.clone(), part)
            });
            Value::Object(shown.collect())
        };
        out["body"] = body;
        mask::hide(&mut out);
        out
    }
}
