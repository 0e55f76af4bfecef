use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::authority::{CertificateRequest, REQUEST_BYTES_MAX};
use crate::testing::{HOUR, TestAuthority, chain, days_ago, days_ahead, now, operator, worker};

/// What a coordinator does with a request: certificate and authority.
fn answer(world: &TestAuthority, request: &KeyRequest, at: Timestamp) -> (Vec<u8>, Vec<u8>) {
    let verified = CertificateRequest::verify(request.request()).unwrap();
    let certificate = world.authority.sign_request(&verified, &worker("eu", "w"), at, HOUR).unwrap();
    (certificate.to_vec(), world.authority.certificate().to_vec())
}

#[test]
fn enrolment_gives_credentials_that_survive_a_file() {
    let world = TestAuthority::new();
    let request = KeyRequest::generate().unwrap();
    assert!(request.request().len() < REQUEST_BYTES_MAX / 10);
    let (certificate, authority) = answer(&world, &request, now());
    let credentials = request.complete(&certificate, &authority, &world.authority.fingerprint(), now()).unwrap();
    assert_eq!(*credentials.identity(), worker("eu", "w"));

    let path = world.dir.path().join("worker.pem");
    credentials.save(&path).unwrap();
    credentials.save(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let loaded = Credentials::load(&path).unwrap();
    assert_eq!(loaded.identity(), credentials.identity());
    assert_eq!(loaded.expires_at(), credentials.expires_at());
    assert_eq!(loaded.fingerprint(), world.authority.fingerprint());
    assert_eq!(loaded.key, credentials.key);
}

#[test]
fn files_that_others_can_open_are_refused() {
    let world = TestAuthority::new();
    let path = world.dir.path().join("ada.pem");
    world.client(&operator("ada")).save(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let refusal = Credentials::load(&path).unwrap_err().to_string();
    assert!(refusal.contains("(mode 644); run `chmod 600") && refusal.contains("ada.pem"), "{refusal}");
}

#[test]
fn damaged_files_say_which_and_what() {
    let (world, other) = (TestAuthority::new(), TestAuthority::new());
    let (ada, bob) = (world.client(&operator("ada")), world.client(&operator("bob")));
    let path = world.dir.path().join("ada.pem");
    let sections = |credentials: &Credentials| pem::parse_many(credentials.to_pem()).unwrap();
    let (a, b) = (sections(&ada), sections(&bob));
    let foreign = sections(&other.client(&operator("ada")));
    let unnamed = rcgen::generate_simple_self_signed(["x".into()]).unwrap();
    let unnamed = Pem::new(CERTIFICATE_TAG, unnamed.cert.der().as_ref());
    let cases = [
        (String::new(), "found 0 and 0"),
        (pem::encode_many(&a[..2]), "found 2 and 0"),
        (ada.to_pem()[..600].into(), "found 0 and 0"),
        (pem::encode_many(&[a[0].clone(), a[1].clone(), b[2].clone()]), "not the key of the certificate"),
        (pem::encode_many(&[a[0].clone(), foreign[1].clone(), a[2].clone()]), "not signed by the authority"),
        (pem::encode_many(&[a[1].clone(), a[0].clone(), a[2].clone()]), "carries no identity"),
        (pem::encode_many(&[unnamed, a[1].clone(), a[2].clone()]), "carries no identity"),
        (pem::encode_many(&[a[0].clone(), Pem::new(CERTIFICATE_TAG, &b"junk"[..]), a[2].clone()]), "cannot be read"),
        (
            pem::encode_many(&[a[0].clone(), a[1].clone(), Pem::new(KEY_TAG, &b"junk"[..])]),
            "private key cannot be used",
        ),
    ];
    for (text, expected) in cases {
        files::replace(&path, &text).unwrap();
        let refusal = chain(&Credentials::load(&path).unwrap_err());
        assert!(refusal.contains(expected) && refusal.contains("ada.pem"), "expected {expected}: {refusal}");
    }
    fs::remove_file(&path).unwrap();
    let missing = Credentials::load(&path).unwrap_err().to_string();
    assert!(missing.starts_with("cannot open `") && missing.contains("ada.pem"), "{missing}");
}

#[test]
fn answers_from_the_wrong_hands_are_refused() {
    let (world, other) = (TestAuthority::new(), TestAuthority::new());
    let request = KeyRequest::generate().unwrap();
    let (certificate, authority) = answer(&world, &request, now());
    let expected = world.authority.fingerprint();
    let complete = |certificate: &[u8], authority: &[u8]| request.complete(certificate, authority, &expected, now());

    assert!(complete(&certificate, &authority).is_ok());
    let other_authority = other.authority.certificate().to_vec();
    assert!(matches!(complete(&certificate, &other_authority), Err(InvalidCredentials::WrongAuthority { .. })));
    let (foreign, _) = answer(&other, &request, now());
    assert!(matches!(complete(&foreign, &authority), Err(InvalidCredentials::NotIssued(_))));
    let (for_another_key, _) = answer(&world, &KeyRequest::generate().unwrap(), now());
    assert!(matches!(complete(&for_another_key, &authority), Err(InvalidCredentials::Key(_))));
    assert!(matches!(complete(b"junk", &authority), Err(InvalidCredentials::NotIssued(_))));
    for at in [days_ago(1), days_ahead(1)] {
        let (untimely, _) = answer(&world, &request, at);
        let refusal = complete(&untimely, &authority).unwrap_err().to_string();
        assert!(refusal.contains("compare the clocks"), "{refusal}");
    }
}

#[test]
fn renewal_is_due_after_half_of_the_lifetime() {
    let world = TestAuthority::new();
    let at = Timestamp(1_900_000_000_000);
    let credentials = world.authority.issue_client(&worker("eu", "w"), at, HOUR).unwrap();
    assert_eq!(credentials.renewal_at(), at.plus_ms(1_800_000));
    assert!(!credentials.needs_renewal(at.plus_ms(1_799_999)));
    assert!(credentials.needs_renewal(at.plus_ms(1_800_000)));
    assert!(!credentials.is_expired(at.plus_ms(3_600_000)));
    assert!(credentials.is_expired(at.plus_ms(3_600_001)));
}

#[test]
fn keys_are_never_printed() {
    let world = TestAuthority::new();
    let credentials = world.client(&operator("ada"));
    let request = KeyRequest::generate().unwrap();
    assert_eq!(format!("{request:?}"), "KeyRequest { .. }");
    let shown = format!("{credentials:?}");
    assert!(shown.contains("ada") && !shown.contains("key"), "{shown}");
}
