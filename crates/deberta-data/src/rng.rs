//! Small random numbers that need no state: a mixer of integers.

/// Distance of neighbours in the stream of SplitMix64.
pub const INCREMENT: u64 = 0x9E37_79B9_7F4A_7C15;

/// Mixes 64 bits so that every input bit reaches every output bit (the finaliser of SplitMix64,
/// after its increment).
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(INCREMENT);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
