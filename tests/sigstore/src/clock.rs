//! An authority for time stamps (RFC 3161).

use jiff::Timestamp;
use rcgen::{
    CertificateParams, CertifiedIssuer, CustomExtension, KeyPair, KeyUsagePurpose, SerialNumber, SigningKey as _,
};

use crate::{
    authority, der,
    der::{FIRST, INTEGER, OCTETS, SEQUENCE, SET, TEXT, TIME},
    hash, lasting,
};

const ROOT: &str = "time root";
const SERIAL: u8 = 7;

// Object identifiers.
const COMMON_NAME: &[u64] = &[2, 5, 4, 3];
const CONTENT_TYPE: &[u64] = &[1, 2, 840, 113_549, 1, 9, 3];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const TIME_STAMPING: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 8];
const ECDSA_SHA256: &[u64] = &[1, 2, 840, 10_045, 4, 3, 2];
const MESSAGE_DIGEST: &[u64] = &[1, 2, 840, 113_549, 1, 9, 4];
const POLICY: &[u64] = &[1, 3, 6, 1, 4, 1, 57_264, 2];
const SHA256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];
const SIGNED_DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 2];
const TIME_STAMP: &[u64] = &[1, 2, 840, 113_549, 1, 9, 16, 1, 4];

/// Says when it saw something.
pub(crate) struct Clock {
    root: CertifiedIssuer<'static, KeyPair>,
    key: KeyPair,
    certificate: Vec<u8>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let root = authority(ROOT);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        lasting(&mut params, "time");
        params.serial_number = Some(SerialNumber::from_slice(&[SERIAL]));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Critical, as RFC 3161 wants it.
        let usage = der::value(SEQUENCE, &[&der::name(TIME_STAMPING)]);
        let mut usage = CustomExtension::from_oid_content(EXTENDED_KEY_USAGE, usage);
        usage.set_criticality(true);
        params.custom_extensions = vec![usage];
        let certificate = params.signed_by(&key, &root).unwrap().der().to_vec();
        Self { root, key, certificate }
    }

    /// The chain, the root last.
    pub(crate) fn chain(&self) -> [&[u8]; 2] {
        [&self.certificate, self.root.der()]
    }

    /// That `bytes` were there at `at`, seconds since 1970.
    pub(crate) fn stamp(&self, bytes: &[u8], at: i64) -> Vec<u8> {
        let sha256 = der::value(SEQUENCE, &[&der::name(SHA256)]);
        let time = Timestamp::from_second(at)
            .unwrap()
            .strftime("%Y%m%d%H%M%SZ")
            .to_string();
        let told = der::value(
            SEQUENCE,
            &[
                &der::value(INTEGER, &[&[1]]),
                &der::name(POLICY),
                &der::value(SEQUENCE, &[&sha256, &der::value(OCTETS, &[&hash(bytes)])]),
                &der::value(INTEGER, &[&[1]]),
                &der::value(TIME, &[time.as_bytes()]),
            ],
        );
        let attribute =
            |name: &[u64], contents: &[u8]| der::value(SEQUENCE, &[&der::name(name), &der::value(SET, &[contents])]);
        // In the order that DER wants.
        let attributes = [
            attribute(CONTENT_TYPE, &der::name(TIME_STAMP)),
            attribute(MESSAGE_DIGEST, &der::value(OCTETS, &[&hash(&told)])),
        ]
        .concat();
        let signature = self.key.sign(&der::value(SET, &[&attributes])).unwrap();
        let issuer = der::value(
            SEQUENCE,
            &[&der::value(
                SET,
                &[&der::value(
                    SEQUENCE,
                    &[&der::name(COMMON_NAME), &der::value(TEXT, &[ROOT.as_bytes()])],
                )],
            )],
        );
        let signer = der::value(
            SEQUENCE,
            &[
                &der::value(INTEGER, &[&[1]]),
                &der::value(SEQUENCE, &[&issuer, &der::value(INTEGER, &[&[SERIAL]])]),
                &sha256,
                &der::value(FIRST, &[&attributes]),
                &der::value(SEQUENCE, &[&der::name(ECDSA_SHA256)]),
                &der::value(OCTETS, &[&signature]),
            ],
        );
        let told = der::value(FIRST, &[&der::value(OCTETS, &[&told])]);
        let signed = der::value(
            SEQUENCE,
            &[
                &der::value(INTEGER, &[&[3]]),
                &der::value(SET, &[&sha256]),
                &der::value(SEQUENCE, &[&der::name(TIME_STAMP), &told]),
                &der::value(SET, &[&signer]),
            ],
        );
        let token = der::value(SEQUENCE, &[&der::name(SIGNED_DATA), &der::value(FIRST, &[&signed])]);
        let granted = der::value(SEQUENCE, &[&der::value(INTEGER, &[&[0]])]);
        der::value(SEQUENCE, &[&granted, &token])
    }
}
