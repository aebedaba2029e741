//! SHA-256 of SHA-256 of a block header, one at a time or several interleaved.
//!
//! A header of 80 bytes is two blocks of SHA-256, and its digest is a third. The rounds of one message wait for each
//! other, so a processor that hashes one header after the other stands idle in part; blocks of several headers in turn
//! fill the gaps. The block function is that of the crate `sha2`, which takes the processor's own instructions where
//! there are some. Knows nothing of what headers say.

use std::slice;

use sha2::block_api::compress256;

/// The state from which SHA-256 starts (FIPS 180-4, 5.3.3).
pub(super) const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// How many headers are hashed in turn.
const LANES: usize = 4;

/// The first block of a header, and the second: what is left of it, the mark of the end, and the length of 640 bits. The
/// first stays where it is: a copy that was just written can't be loaded at full speed.
fn blocks(header: &[u8; 80]) -> (&[[u8; 64]], [u8; 64]) {
    let (first, rest) = header.as_chunks();
    let mut second = [0; 64];
    second[..16].copy_from_slice(rest);
    second[16] = 0x80;
    second[62..].copy_from_slice(&640_u16.to_be_bytes());
    (first, second)
}

/// The block of the digest that a state is: its 32 bytes, the mark of the end, and the length of 256 bits.
fn digest_block(state: &[u32; 8]) -> [u8; 64] {
    let mut block = [0; 64];
    for (bytes, word) in block.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    block[32] = 0x80;
    block[62..].copy_from_slice(&256_u16.to_be_bytes());
    block
}

/// The bytes of the digest that a state is.
fn bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// SHA-256 of SHA-256 of a header.
#[must_use]
pub fn digest(header: &[u8; 80]) -> [u8; 32] {
    let (first, second) = blocks(header);
    let mut state = START;
    compress256(&mut state, first);
    compress256(&mut state, slice::from_ref(&second));
    let mut outer = START;
    compress256(&mut outer, slice::from_ref(&digest_block(&state)));
    bytes(&outer)
}

/// The same of many, in their order.
pub fn digests<'h>(headers: impl Iterator<Item = &'h [u8; 80]>) -> Vec<[u8; 32]> {
    let mut headers = headers;
    let mut made = Vec::with_capacity(headers.size_hint().0);
    let mut lanes: [(&[[u8; 64]], [u8; 64]); LANES] = [(&[], [0; 64]); LANES];
    loop {
        let mut filled = 0;
        for (lane, header) in lanes.iter_mut().zip(headers.by_ref()) {
            *lane = blocks(header);
            filled += 1;
        }
        if filled == 0 {
            return made;
        }
        // Lanes that no header is left for hash again what they hold, and what comes of it is dropped.
        let mut states = [START; LANES];
        for (state, (first, _)) in states.iter_mut().zip(&lanes) {
            compress256(state, first);
        }
        for (state, (_, second)) in states.iter_mut().zip(&lanes) {
            compress256(state, slice::from_ref(second));
        }
        let inner = states.map(|state| digest_block(&state));
        let mut states = [START; LANES];
        for (state, block) in states.iter_mut().zip(&inner) {
            compress256(state, slice::from_ref(block));
        }
        made.extend(states[..filled].iter().map(bytes));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// SHA-256 by the text of FIPS 180-4 alone, its constants computed and not copied: to compare with.
    mod by_the_standard {
        /// The first 32 bits of the fractional part of a root of a prime, by whole numbers: floor(2^32 p^(1/n)) mod 2^32.
        fn fraction(prime: u128, degree: u32) -> u32 {
            let wanted = prime << (32 * degree);
            let (mut low, mut high) = (0_u128, 1 << 38);
            while high - low > 1 {
                let middle = u128::midpoint(low, high);
                let fits = middle.checked_pow(degree).is_some_and(|power| power <= wanted);
                (low, high) = if fits { (middle, high) } else { (low, middle) };
            }
            low as u32
        }

        fn primes() -> impl Iterator<Item = u128> {
            (2_u128..).filter(|n| (2..*n).all(|divisor| n % divisor != 0))
        }

        #[expect(clippy::many_single_char_names, reason = "the names of the standard")]
        pub fn sha256(message: &[u8]) -> [u8; 32] {
            let k: Vec<u32> = primes().take(64).map(|prime| fraction(prime, 3)).collect();
            let mut h: Vec<u32> = primes().take(8).map(|prime| fraction(prime, 2)).collect();
            let mut padded = message.to_vec();
            padded.push(0x80);
            while padded.len() % 64 != 56 {
                padded.push(0);
            }
            padded.extend((message.len() as u64 * 8).to_be_bytes());
            for block in padded.chunks(64) {
                let words =
                    block.chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap()));
                let mut w: Vec<u32> = words.collect();
                for t in 16..64 {
                    let (x, y) = (w[t - 15], w[t - 2]);
                    let s0 = x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
                    let s1 = y.rotate_right(17) ^ y.rotate_right(19) ^ (y >> 10);
                    let sum = s1.wrapping_add(w[t - 7]).wrapping_add(s0).wrapping_add(w[t - 16]);
                    w.push(sum);
                }
                let mut v = h.clone();
                for t in 0..64 {
                    let (a, e) = (v[0], v[4]);
                    let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
                    let ch = (e & v[5]) ^ (!e & v[6]);
                    let t1 = [s1, ch, k[t], w[t]].into_iter().fold(v[7], u32::wrapping_add);
                    let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
                    let maj = (a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]);
                    v.rotate_right(1);
                    v[4] = v[4].wrapping_add(t1);
                    v[0] = t1.wrapping_add(s0.wrapping_add(maj));
                }
                for (sum, word) in h.iter_mut().zip(v) {
                    *sum = sum.wrapping_add(word);
                }
            }
            let bytes: Vec<u8> = h.into_iter().flat_map(u32::to_be_bytes).collect();
            bytes.try_into().unwrap()
        }
    }

    #[test]
    fn what_it_is_compared_with_knows_the_examples_of_the_standard() {
        for (message, digest) in [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
        ] {
            assert_eq!(hex::encode(by_the_standard::sha256(message.as_bytes())), digest);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn one_and_many_are_hashed_as_by_the_standard(
            headers in proptest::collection::vec(proptest::array::uniform32(any::<u8>()), 0..14),
            rest: [u8; 16],
        ) {
            let headers: Vec<[u8; 80]> = headers
                .iter()
                .map(|bytes| [&bytes[..], &bytes[..], &rest[..]].concat().try_into().unwrap())
                .collect();
            let wanted: Vec<[u8; 32]> = headers
                .iter()
                .map(|header| by_the_standard::sha256(&by_the_standard::sha256(header)))
                .collect();
            prop_assert_eq!(headers.iter().map(digest).collect::<Vec<_>>(), wanted.clone());
            prop_assert_eq!(digests(headers.iter()), wanted);
        }
    }
}
