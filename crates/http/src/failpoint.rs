//! A defect on demand, so that a test can prove what one costs. Compiled into debug builds only, and there only
//! when the process is started with `EVENKEEL_FAILPOINTS=1`.

/// Panics when a test asks for it with the field `x-evenkeel-failpoint: panic`.
#[cfg(debug_assertions)]
#[allow(clippy::panic)] // what it is for
pub(crate) fn check(fields: &evenkeel_wire::Fields<'_>) {
    use std::sync::OnceLock;
    static ON: OnceLock<bool> = OnceLock::new();
    let on = *ON.get_or_init(|| std::env::var_os("EVENKEEL_FAILPOINTS").is_some_and(|v| v == "1"));
    if on && fields.find("x-evenkeel-failpoint") == Some(b"panic") {
        std::panic::panic_any("fail point: panic");
    }
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[inline]
pub(crate) fn check(_fields: &evenkeel_wire::Fields<'_>) {}
