//! The functions that templates may call.

use std::sync::{Arc, LazyLock};

use roadstead_template::Functions;

use crate::Dialect;

/// Every function that a dialect's templates may call.
pub(crate) fn table(dialect: Dialect) -> Arc<Functions> {
    static TABLES: LazyLock<[Arc<Functions>; 2]> = LazyLock::new(|| {
        [
            roadstead_sprig::Dialect::Helm3,
            roadstead_sprig::Dialect::Helm4,
        ]
        .map(|dialect| Arc::new(roadstead_sprig::functions(dialect)))
    });
    Arc::clone(&TABLES[usize::from(dialect.is_4())])
}
