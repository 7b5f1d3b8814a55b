//! The keys of a JSON text in the order in which they stand, and which of them stand twice.

use std::collections::BTreeSet;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The path of a key, as Kubernetes writes it: `spec.containers[0].name`.
#[derive(Debug, PartialEq)]
pub(super) struct Key {
    pub(super) path: String,
    /// Did it stand there before?
    pub(super) again: bool,
}

/// Finds every key; what is no JSON has those before its mistake.
pub(super) fn keys(body: &[u8]) -> Vec<Key> {
    let mut out = Vec::new();
    let mut text = serde_json::Deserializer::from_slice(body);
    let walk = Walk {
        path: String::new(),
        out: &mut out,
    };
    // what is wrong with the text was told before
    let _ = walk.deserialize(&mut text);
    out
}

struct Walk<'a> {
    path: String,
    out: &'a mut Vec<Key>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for index in 0.. {
            let walk = Walk {
                path: format!("{}[{index}]", self.path),
                out: self.out,
            };
            if items.next_element_seed(walk)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = fields.next_key::<String>()? {
            let path = if self.path.is_empty() {
                key.clone()
            } else {
                format!("{}.{key}", self.path)
            };
            let again = !seen.insert(key);
            self.out.push(Key {
                path: path.clone(),
                again,
            });
            if again {
                fields.next_value::<IgnoredAny>()?;
            } else {
                let walk = Walk {
                    path,
                    out: self.out,
                };
                fields.next_value_seed(walk)?;
            }
        }
        Ok(())
    }
}

#[test]
fn keys_stand_in_order() {
    let found = keys(br#"{"b": 1, "a": [{"x": 1}, {"y": {}, "y": 2}], "b": 2}"#);
    let found: Vec<String> = found
        .into_iter()
        .map(|key| format!("{}{}", key.path, if key.again { "!" } else { "" }))
        .collect();
    assert_eq!(found, ["b", "a", "a[0].x", "a[1].y", "a[1].y!", "b!"]);
}
