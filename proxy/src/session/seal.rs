//! What a session cookie holds, sealed: nobody reads it but a gateway, and nobody makes or changes one.

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};
use uuid::Uuid;

use super::cookie;

/// The first byte of all that is sealed, so that another form can be told from this one.
const VERSION: u8 = 1;
/// Version and key.
const HEAD: usize = 1 + 16;
/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// A key to seal and to open with, and the name by which it is found.
pub struct Key {
    id: Uuid,
    secret: LessSafeKey,
}

/// Why something could not be sealed or opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SealError {
    #[error("failed to get random bytes")]
    Random,
    #[error("failed to seal")]
    Seal,
    #[error("failed to find the parts of what is sealed")]
    Form,
    #[error("failed to find the key")]
    Key,
    #[error("failed to open")]
    Open,
}

impl Key {
    /// The key of these bytes, if there are as many as a key has.
    pub fn of(id: Uuid, secret: &[u8]) -> Option<Self> {
        let secret = UnboundKey::new(&AES_256_GCM, secret).ok()?;
        Some(Self {
            id,
            secret: LessSafeKey::new(secret),
        })
    }

    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Version, key, a nonce of 96 random bits, and the ciphertext with its tag (RFC 5116). Random nonces are safe for 2³² of one
    /// key, which are 99,000 a second until the next.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Random)?;
        let mut text = plain.to_vec();
        self.secret
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context(self.id)),
                &mut text,
            )
            .map_err(|_| SealError::Seal)?;
        let mut sealed = Vec::with_capacity(HEAD + NONCE_LEN + text.len());
        sealed.push(VERSION);
        sealed.extend(self.id.as_bytes());
        sealed.extend(nonce);
        sealed.append(&mut text);
        Ok(sealed)
    }
}

/// What was sealed with one of `keys`.
pub fn open(mut sealed: Vec<u8>, keys: &[Key]) -> Result<Vec<u8>, SealError> {
    let (&version, rest) = sealed.split_first().ok_or(SealError::Form)?;
    let (id, rest) = rest.split_first_chunk().ok_or(SealError::Form)?;
    let (nonce, _) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Form)?;
    if version != VERSION {
        return Err(SealError::Form);
    }
    let id = Uuid::from_bytes(*id);
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let key = keys.iter().find(|key| key.id == id).ok_or(SealError::Key)?;
    let mut text = sealed.split_off(HEAD + NONCE_LEN);
    let plain = key
        .secret
        .open_in_place(nonce, Aad::from(context(id)), &mut text)
        .map_err(|_| SealError::Open)?;
    Ok(plain.to_vec())
}

/// What is authenticated beside the text: it is good for this cookie alone, whatever else the key will ever seal.
fn context(id: Uuid) -> Vec<u8> {
    [&[VERSION], id.as_bytes().as_slice(), cookie::NAME.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(id: u128, secret: u8) -> Key {
        Key::of(Uuid::from_u128(id), &[secret; KEY_BYTES]).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_to_the_same(plain in prop::collection::vec(any::<u8>(), 0..10_000)) {
            let keys = [key(1, 1), key(2, 2)];
            let sealed = keys[1].seal(&plain).unwrap();
            prop_assert_eq!(open(sealed, &keys).unwrap(), plain);
        }

        #[test]
        fn what_is_not_sealed_opens_to_nothing(junk in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open(junk, &[key(1, 1)]).is_err());
        }
    }

    #[test]
    fn any_bit_flipped_and_any_byte_missing_is_refused() {
        let keys = [key(1, 1)];
        let sealed = keys[0].seal(b"a token").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut spoilt = sealed.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            assert!(open(spoilt, &keys).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(open(sealed[..length].to_vec(), &keys).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn another_key_of_the_same_name_does_not_open_it() {
        let sealed = key(1, 1).seal(b"a token").unwrap();
        assert_eq!(open(sealed.clone(), &[key(1, 2)]), Err(SealError::Open));
        assert_eq!(open(sealed, &[key(2, 1)]), Err(SealError::Key));
    }

    #[test]
    fn the_same_is_never_sealed_alike() {
        let key = key(1, 1);
        assert_ne!(key.seal(b"a").unwrap(), key.seal(b"a").unwrap());
    }

    #[test]
    fn a_key_has_all_its_bytes() {
        for length in [0, KEY_BYTES - 1, KEY_BYTES + 1] {
            assert!(Key::of(Uuid::nil(), &vec![0; length]).is_none());
        }
    }
}
