use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn token() -> JoinToken {
    JoinToken::generate("coordinator.example:7400".parse().unwrap(), Fingerprint::of(b"ca")).unwrap()
}

#[test]
fn text_and_back() {
    for endpoint in ["localhost:1", "[2001:db8::1]:65535", &format!("{}:7400", vec!["a".repeat(60); 4].join("."))] {
        let token = JoinToken::generate(endpoint.parse().unwrap(), Fingerprint::of(b"ca")).unwrap();
        let text = token.encode();
        assert!(text.starts_with("polder1.") && text.len() < 600, "{} bytes", text.len());
        assert_eq!(JoinToken::parse(&text), Ok(token.clone()));
        assert_eq!(JoinToken::parse(&format!("  {text}\n")), Ok(token));
    }
}

#[test]
fn tokens_differ() {
    let (one, other) = (token(), token());
    assert_ne!(one.id, other.id);
    assert_ne!(one.secret.hash(), other.secret.hash());
}

#[test]
fn each_fault_is_called_by_its_name() {
    let text = token().encode();
    let body = &text["polder1.".len()..];
    let altered = format!("{}{}{}", &text[..40], if &text[40..41] == "A" { "B" } else { "A" }, &text[41..]);
    let cases = [
        ("", TokenError::NotAToken),
        ("hello", TokenError::NotAToken),
        ("polder", TokenError::NotAToken),
        ("polder.abc", TokenError::NotAToken),
        ("polderx.abc", TokenError::NotAToken),
        (&"polder1.".repeat(1000), TokenError::NotAToken),
        ("polder1.", TokenError::Truncated),
        ("polder1.AAA", TokenError::Truncated),
        (&text[..text.len() - 1], TokenError::Truncated),
        (&text[..text.len() / 2], TokenError::Truncated),
        (&format!("{text}A"), TokenError::Altered),
        (&altered, TokenError::Altered),
        ("polder1.AAAA", TokenError::Altered),
        (&format!("polder2.{body}"), TokenError::OtherVersion { version: "2".into() }),
        ("polder1.é€é€é€", TokenError::Altered),
    ];
    for (text, expected) in cases {
        assert_eq!(JoinToken::parse(text), Err(expected), "{text}");
    }
}

#[test]
fn well_formed_nonsense_is_malformed() {
    // Length and checksum right, contents not: what a program of another make might produce.
    for content in [&b""[..], b"\x05abc", b"\x00\x00\x00", b"\x01A\x00\x00", &[0xff; 90]] {
        let mut bytes = u16::try_from(2 + content.len() + CHECKSUM_BYTES).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(content);
        let checksum = digest(&SHA256, &bytes);
        bytes.extend_from_slice(&checksum.as_ref()[..CHECKSUM_BYTES]);
        let text = format!("polder1.{}", BASE64URL_NOPAD.encode(&bytes));
        assert_eq!(JoinToken::parse(&text), Err(TokenError::Malformed), "{content:?}");
    }
}

#[test]
fn the_secret_is_never_printed() {
    let token = token();
    let hex = HEXLOWER.encode(token.secret.expose());
    let base64 = BASE64URL_NOPAD.encode(token.secret.expose());
    let text = token.encode();
    let altered = JoinToken::parse(&format!("{text}A")).unwrap_err();
    for shown in [format!("{token:?}"), format!("{token:#?}"), altered.to_string(), format!("{altered:?}")] {
        for secret in [&hex, &base64, &text, &format!("{:?}", token.secret.expose())] {
            assert!(!shown.contains(secret.as_str()), "{shown}");
        }
    }
    assert!(format!("{token:?}").contains("secret: [redacted]"));
}

#[test]
fn the_hash_is_of_the_secret() {
    let secret = TokenSecret::from_bytes(&[7; 32]).unwrap();
    // printf 'polder join token secret 1\0' plus 32 bytes of 7, through sha256sum
    assert_eq!(secret.hash(), KNOWN_HASH);
    assert_eq!(TokenSecret::from_bytes(&[7; 31]), Err(TokenError::Malformed));
}

const KNOWN_HASH: &str = "0e8cda8686a1174b91c4ac6b9fd856d8f6a0a0631083451731d36c3ca40458c2";

proptest! {
    /// Whatever happens to a token on its way: it is refused, or it is the token that it was.
    #[test]
    fn mangled_tokens_are_noticed(edits in vec((any::<Index>(), 0..4u8, any::<char>()), 1..4)) {
        let token = token();
        let mut text: Vec<char> = token.encode().chars().collect();
        for (at, edit, with) in edits {
            let at = at.index(text.len());
            match edit {
                0 => text[at] = with,
                1 => text.insert(at, with),
                2 => { text.remove(at); }
                _ => text.swap(at, 0),
            }
        }
        let text: String = text.into_iter().collect();
        if let Ok(parsed) = JoinToken::parse(&text) {
            prop_assert_eq!(parsed.encode(), token.encode());
            prop_assert_eq!(text.trim(), token.encode());
        }
    }

    #[test]
    fn any_text_is_survived(text in "(polder1\\.)?[A-Za-z0-9_-]{0,200}|.{0,50}") {
        prop_assert!(JoinToken::parse(&text).is_err());
    }
}
