//! The page: one document, with its script and its style in it, so that it is one request.

use std::sync::LazyLock;

use hyper::header::HeaderValue;
use ring::digest::{digest, SHA256};

const STYLE: &str = include_str!("../dashboard/style.css");
const SCRIPTS: [&str; 3] = [
    include_str!("../dashboard/chart.js"),
    include_str!("../dashboard/callers.js"),
    include_str!("../dashboard/script.js"),
];

/// The document.
pub static PAGE: LazyLock<String> = LazyLock::new(|| {
    let page = include_str!("../dashboard/page.html");
    let page = page.replace("/*style*/", STYLE);
    page.replace("/*script*/", &SCRIPTS.concat())
});

/// Nothing from elsewhere, no script and no style but these two, and no page may frame this one.
pub static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; \
         img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        hash(&SCRIPTS.concat()),
        hash(STYLE)
    );
    // What it is made of is ASCII.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// As a policy names what it lets pass.
fn hash(text: &str) -> String {
    format!(
        "sha256-{}",
        base64(digest(&SHA256, text.as_bytes()).as_ref())
    )
}

/// RFC 4648, 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
        let bits = bits << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            let is_there = place <= three.len();
            text.push(if is_there { letter.into() } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    /// RFC 4648, 10.
    #[test]
    fn base64_is_that_of_the_rfc() {
        let told = [
            "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy",
        ];
        for (length, expected) in told.iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..length]), *expected);
        }
    }
}
