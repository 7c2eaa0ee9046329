//! Lanes against a hash of one message at a time.

use blake2::Blake2bMac;
use blake2::digest::consts::U32;
use blake2::digest::{FixedOutput, KeyInit, Update};
use proptest::prelude::*;

use super::*;

fn kernels() -> Vec<Kernel> {
    let best = crate::kernel::instructions();
    let mut kernels = vec![Kernel::Plain];
    #[cfg(target_arch = "x86_64")]
    {
        kernels.extend((best >= Instructions::Avx2).then_some(Kernel::Avx2));
        kernels.extend((best >= Instructions::Avx512).then_some(Kernel::Avx512));
    }
    kernels
}

fn reference(key: &[u8], message: &[u8]) -> [u8; DIGEST_LEN] {
    let mut state = Blake2bMac::<U32>::new_from_slice(key).unwrap();
    state.update(message);
    state.finalize_fixed().into()
}

fn hash_many(lanes: &Lanes, messages: &[&[&[u8]]]) -> Vec<[u8; DIGEST_LEN]> {
    let mut digests = vec![None; messages.len()];
    let mut running = lanes.start();
    let mut here: Vec<Option<&[&[u8]]>> = vec![None; lanes.count()];
    let mut numbers = vec![0; lanes.count()];
    let mut coming = messages.iter().enumerate();
    loop {
        for (lane, place) in here.iter_mut().enumerate() {
            while place.is_none()
                && let Some((number, message)) = coming.next()
            {
                numbers[lane] = number;
                match lanes.begin(&mut running, lane, message) {
                    Some(digest) => digests[number] = Some(digest),
                    None => *place = Some(message),
                }
            }
        }
        let mut free = Vec::new();
        lanes.advance(&mut running, &here, |lane, digest| free.push((lane, digest)));
        if free.is_empty() {
            return digests.into_iter().map(|digest| digest.unwrap()).collect();
        }
        for (lane, digest) in free {
            digests[numbers[lane]] = Some(digest);
            here[lane] = None;
        }
    }
}

fn noise(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

#[test]
fn messages_of_all_lengths_around_a_block_are_hashed_as_one_by_one() {
    let bytes = noise(700);
    let messages: Vec<[&[u8]; 1]> = (0..700).map(|len| [&bytes[..len]]).collect();
    let messages: Vec<&[&[u8]]> = messages.iter().map(|pieces| &pieces[..]).collect();
    for kernel in kernels() {
        for key in [&bytes[..1], &bytes[..32], &bytes[..64]] {
            let digests = hash_many(&Lanes::with(key, kernel), &messages);
            for (len, digest) in digests.iter().enumerate() {
                assert_eq!(*digest, reference(key, &bytes[..len]), "{len}");
            }
        }
    }
}

#[test]
fn free_lanes_do_nothing() {
    for kernel in kernels() {
        let lanes = Lanes::with(b"k", kernel);
        let messages: Vec<Option<&[&[u8]]>> = vec![None; lanes.count()];
        lanes.advance(&mut lanes.start(), &messages, |lane, _| panic!("{lane} has no message"));
    }
}

proptest! {
    #[test]
    fn pieces_and_their_lengths_do_not_matter(
        messages in prop::collection::vec(prop::collection::vec(0usize..400, 0..6), 0..20),
        long in prop::collection::vec(1000usize..20_000, 0..3),
    ) {
        let bytes = noise(20_000);
        let mut pieces: Vec<Vec<&[u8]>> = messages
            .iter()
            .map(|lens| lens.iter().enumerate().map(|(at, len)| &bytes[at * 37..at * 37 + len]).collect())
            .collect();
        pieces.extend(long.iter().map(|len| vec![&bytes[..*len]]));
        let given: Vec<&[&[u8]]> = pieces.iter().map(|pieces| &pieces[..]).collect();
        for kernel in kernels() {
            let digests = hash_many(&Lanes::with(b"the secret", kernel), &given);
            for (pieces, digest) in pieces.iter().zip(digests) {
                prop_assert_eq!(digest, reference(b"the secret", &pieces.concat()));
            }
        }
    }
}
