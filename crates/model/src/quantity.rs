//! Amounts that are a number or a percentage, and lengths of time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of things, or a percentage of them: `3` or `"10%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Count(u32),
    /// So many in a hundred, 0 to 100.
    Percent(u8),
}

impl Amount {
    /// How many of `total`, rounded up.
    pub fn of_up(self, total: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => (total * usize::from(percent)).div_ceil(100),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number such as 3, or a percentage such as \"10%\"")
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Amount, E> {
                u32::try_from(value)
                    .map(Amount::Count)
                    .map_err(|_| E::custom(format_args!("{value} is too large")))
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Amount, E> {
                u32::try_from(value)
                    .map(Amount::Count)
                    .map_err(|_| E::custom(format_args!("{value} is out of range")))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Amount, E> {
                let percent = text
                    .strip_suffix('%')
                    .and_then(|number| number.parse().ok())
                    .filter(|p| *p <= 100);
                let count = || text.parse().ok().map(Amount::Count);
                percent.map(Amount::Percent).or_else(count).ok_or_else(|| {
                    E::custom(format_args!(
                        "{text:?} is neither a number nor a percentage from 0% to 100%"
                    ))
                })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl schemars::JsonSchema for Amount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] })
    }
}

/// A length of time in milliseconds; written `1h30m`, `90s`, `250ms`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurationMs(pub u64);

impl DurationMs {
    /// Makes one from seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(seconds * 1000)
    }
}

const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

impl fmt::Display for DurationMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut left = self.0;
        for (unit, ms) in UNITS {
            if left >= ms {
                write!(f, "{}{unit}", left / ms)?;
                left %= ms;
            }
        }
        Ok(())
    }
}

impl FromStr for DurationMs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("{text:?} is not a length of time such as 90s, 5m or 1h30m");
        let (mut total, mut rest) = (0_u64, text);
        if text.is_empty() {
            return Err(error());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
            let number: u64 = rest[..digits].parse().map_err(|_| error())?;
            rest = &rest[digits..];
            let letters = rest
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(rest.len());
            let (_, ms) = UNITS
                .into_iter()
                .find(|(unit, _)| *unit == &rest[..letters])
                .ok_or_else(error)?;
            rest = &rest[letters..];
            total = number
                .checked_mul(ms)
                .and_then(|ms| total.checked_add(ms))
                .ok_or_else(error)?;
        }
        Ok(Self(total))
    }
}

impl Serialize for DurationMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DurationMs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for DurationMs {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^([0-9]+(d|h|m|s|ms))+$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_up() {
        assert_eq!(Amount::Percent(10).of_up(1), 1);
        assert_eq!(Amount::Percent(10).of_up(11), 2);
        assert_eq!(Amount::Percent(0).of_up(50), 0);
        assert!(serde_json::from_str::<Amount>("\"101%\"").is_err());
        assert_eq!(
            serde_json::from_str::<Amount>("\"10%\"").expect("percent"),
            Amount::Percent(10)
        );
    }

    #[test]
    fn durations_read_what_they_write() {
        for text in ["0s", "90s", "1h30m", "250ms", "2d"] {
            let duration: DurationMs = text.parse().expect(text);
            assert_eq!(duration.to_string().parse::<DurationMs>(), Ok(duration));
        }
        for text in ["", "5", "s", "5y", "99999999999999999999s"] {
            assert!(text.parse::<DurationMs>().is_err(), "{text}");
        }
    }
}
