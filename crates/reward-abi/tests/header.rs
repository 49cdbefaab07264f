//! The C header in `include/` is the one that cbindgen makes of the source.

use std::path::Path;

use cbindgen::{Builder, Config};
use expect_test::expect_file;

#[test]
fn the_header_says_what_the_source_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = Config::from_file(folder.join("cbindgen.toml")).unwrap();
    let bindings =
        Builder::new().with_config(config).with_src(folder.join("src/lib.rs")).generate().unwrap();
    let mut header = Vec::new();
    bindings.write(&mut header);
    // `UPDATE_EXPECT=1` writes it.
    expect_file!["../include/forage_reward.h"].assert_eq(&String::from_utf8(header).unwrap());
}
