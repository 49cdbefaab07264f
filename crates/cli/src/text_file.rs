//! Text files that people write, such as run files: UTF-8, without its byte-order mark.

use std::io;
use std::path::Path;

/// Reads a text file. Another encoding is an error that names it, with the command that converts it.
pub fn read(path: &Path) -> io::Result<String> {
    let bytes = std::fs::read(path)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let (encoding, name) = match error.as_bytes() {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [_, 0, ..] | [0, ..] => ("UTF-16", "UTF-16"),
            _ => ("an encoding of single bytes, such as Latin-1", "LATIN1"),
        };
        let message =
            format!("not UTF-8: it looks like {encoding}; convert it: `iconv -f {name} -t UTF-8`");
        io::Error::new(io::ErrorKind::InvalidData, message)
    })?;
    if text.contains('\0') {
        let message = "not UTF-8: it looks like UTF-16 without a mark; convert it: `iconv -f \
                       UTF-16LE -t UTF-8`";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_encodings_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        let utf16 = |mark: &[u8]| {
            let units = "a = 1".encode_utf16().flat_map(u16::to_le_bytes);
            [mark, &units.collect::<Vec<u8>>()].concat()
        };
        for (bytes, expected) in [
            (b"a = 1".to_vec(), Ok("a = 1")),
            (b"\xef\xbb\xbfa = 1".to_vec(), Ok("a = 1")),
            (utf16(&[0xff, 0xfe]), Err("it looks like UTF-16;")),
            (utf16(&[]), Err("UTF-16 without a mark")),
            (b"a = \"\xe9t\xe9\"".to_vec(), Err("such as Latin-1; convert it: `iconv -f LATIN1")),
        ] {
            std::fs::write(&path, bytes).unwrap();
            match (read(&path), expected) {
                (Ok(text), Ok(expected)) => assert_eq!(text, expected),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{error}");
                }
                (found, expected) => panic!("{found:?} for {expected:?}"),
            }
        }
    }
}
