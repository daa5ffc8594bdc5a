//! The house rules hold for the workspace as it stands.

use std::process::Command;

#[test]
fn the_house_is_tidy() {
    let done = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("tidy").output().expect("xtask starts");
    let list = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{list}{}", String::from_utf8_lossy(&done.stderr));
}
