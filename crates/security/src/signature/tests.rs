use std::fs;
use std::os::unix::fs::PermissionsExt;

use ring::rand::SystemRandom;
use tempfile::TempDir;

use super::*;

/// Made with `openssl genpkey -algorithm ed25519`; the public key is from `openssl pkey -pubout`.
const KEY_PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIOSMShH/1g18zJlqDPSdSzsJ5zUsxn4RKJNUwod/ijzR\n\
    -----END PRIVATE KEY-----\n";
const KEY: &str = "ed25519:a93294c5517846134e18a81c3702b6469c4a3a99a71a8a0ad9986f8c6552db41";
const X25519_PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VuBCIEIGBiDsOrfwBB1bgJV1lhBpFGUdVXLarK5Pn0pdLCE8BQ\n\
    -----END PRIVATE KEY-----\n";

fn digest() -> String {
    format!("sha256:{}", "07".repeat(32))
}

fn file(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("key.pem");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn signer() -> Signer {
    let dir = tempfile::tempdir().unwrap();
    Signer::from_pem_file(&file(&dir, KEY_PEM)).unwrap()
}

fn refusal(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    Signer::from_pem_file(&file(&dir, text)).unwrap_err().to_string()
}

/// RFC 8032, section 7.1, tests 1 to 3.
#[test]
fn keys_and_signatures_are_those_of_the_rfc() {
    let vectors = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
             d25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c\
             387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659\
             4a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (seed, public, message, signature) in vectors {
        let der = HEXLOWER.decode(format!("302e020100300506032b657004220420{seed}").as_bytes()).unwrap();
        let signer = Signer::from_pem_file(&file(&dir, &pem::encode(&pem::Pem::new(PEM_TAG, der)))).unwrap();
        assert_eq!(signer.signer(), format!("ed25519:{public}"));
        let message = HEXLOWER.decode(message.as_bytes()).unwrap();
        assert_eq!(HEXLOWER.encode(signer.0.sign(&message).as_ref()), signature);
    }
}

/// The signature is from `openssl pkeyutl -sign -rawin` over the 98 bytes that are to be signed.
#[test]
fn a_signature_is_what_openssl_makes_of_the_same_bytes() {
    let made = signer().sign(&digest());
    assert_eq!(made.signer, KEY);
    assert_eq!(
        made.signature,
        "5fc9f639ef26bbab0c5ddd359e55175e8d018fb8a025d03edc1b9ba3c73c7d1e87c282ab191f297b67d44689a20b916e172c35db3de7ed06878b6f9d10c2770f"
    );
    verify(&digest(), &made).unwrap();
    let shouted = PolicySignature {
        signer: format!("ed25519:{}", KEY.trim_start_matches("ed25519:").to_uppercase()),
        signature: made.signature.to_uppercase(),
    };
    verify(&digest(), &shouted).unwrap();
}

#[test]
fn a_key_of_version_2_signs_too() {
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let text = pem::encode(&pem::Pem::new(PEM_TAG, der.as_ref()));
    let signer = Signer::from_pem_file(&file(&dir, &text)).unwrap();
    verify(&digest(), &signer.sign(&digest())).unwrap();
}

#[test]
fn what_was_tampered_with_does_not_hold() {
    let made = signer().sign(&digest());
    let wrong = |digest: &str, signature: &PolicySignature| verify(digest, signature).unwrap_err().to_string();
    let other = format!("sha256:{}", "08".repeat(32));
    assert_eq!(
        wrong(&other, &made),
        format!("the signature by {KEY} is not one of {other}; sign these very bytes again")
    );

    let flipped = PolicySignature { signature: made.signature.replacen(['a', 'b'], "c", 1), ..made.clone() };
    assert_ne!(flipped, made);
    assert!(wrong(&digest(), &flipped).contains("is not one of"));
    let shorter = PolicySignature { signature: made.signature[2..].into(), ..made.clone() };
    assert!(wrong(&digest(), &shorter).contains("128 hexadecimal digits"));
    let no_hex = PolicySignature { signature: "é".repeat(64), ..made.clone() };
    assert!(wrong(&digest(), &no_hex).contains("128 hexadecimal digits"));

    let anothers = PolicySignature { signer: KEY.replace("a932", "a933"), ..made.clone() };
    assert!(wrong(&digest(), &anothers).contains("is not one of"));
    for signer in ["", "ed25519:", &KEY[..70], "rsa:00", &KEY.replace("ed25519:", "sha256:")] {
        let unknown = PolicySignature { signer: signer.into(), ..made.clone() };
        assert!(wrong(&digest(), &unknown).contains("write `ed25519:`"), "{signer}");
    }
}

#[test]
fn a_file_without_a_key_says_how_to_make_one() {
    let make = "openssl genpkey -algorithm ed25519 -out key.pem";
    assert!(refusal("").contains(make));
    assert!(refusal("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").contains("holds no private key"));
    assert!(refusal(X25519_PEM).contains("is no Ed25519 key") && refusal(X25519_PEM).contains(make));
    assert!(refusal(&KEY_PEM.replace("PRIVATE", "ENCRYPTED PRIVATE")).contains("openssl pkey -in"));

    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, KEY_PEM);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Signer::from_pem_file(&path).unwrap_err().to_string().contains("chmod 600"));
}
