//! How long texts may stay, and where windows begin: plain arithmetic.

use std::ops::Range;

use super::TruncationSide;

/// Tokens that stay of each text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) first: usize,
    pub(super) second: usize,
}

impl Cut {
    /// Shares `room` tokens, fewer than there are: the longer text is cut down to the shorter one,
    /// then both alike, and an odd token goes to the longer one.
    ///
    /// `truncate_encodings` of the `tokenizers` library, strategy `LongestFirst`.
    pub(super) fn share(self, room: usize) -> Self {
        let first_is_longer = self.first > self.second;
        let shorter = self.first.min(self.second).min(room / 2);
        let longer = room - shorter;
        match first_is_longer {
            true => Self {
                first: longer,
                second: shorter,
            },
            false => Self {
                first: shorter,
                second: longer,
            },
        }
    }
}

/// The windows of `room` tokens over a text of `len`, of which two neighbours share `stride`.
///
/// The caller sees to `stride < room` if there is more than one.
pub(super) fn windows(
    len: usize,
    room: usize,
    stride: usize,
    side: TruncationSide,
) -> impl Iterator<Item = Range<usize>> {
    let step = room.saturating_sub(stride).max(1);
    let count = match len > room {
        true => (len - room).div_ceil(step) + 1,
        false => 1,
    };
    (0..count).map(move |index| match side {
        TruncationSide::Right => index * step..(index * step + room).min(len),
        TruncationSide::Left => {
            let end = len - index * step;
            end.saturating_sub(room)..end
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_odd_token_goes_to_the_longer_text() {
        let share = |first, second, room| {
            let cut = Cut { first, second }.share(room);
            (cut.first, cut.second)
        };
        assert_eq!(share(10, 3, 9), (6, 3));
        assert_eq!(share(3, 10, 9), (3, 6));
        assert_eq!(share(10, 9, 9), (5, 4));
        assert_eq!(share(9, 9, 9), (4, 5));
        assert_eq!(share(5, 5, 0), (0, 0));
    }

    proptest! {
        #[test]
        fn sharing_uses_the_room_and_cuts_the_shorter_text_last(
            first in 0usize..40, second in 0usize..40, room in 0usize..80,
        ) {
            prop_assume!(first + second > room);
            let cut = Cut { first, second }.share(room);
            prop_assert_eq!(cut.first + cut.second, room);
            prop_assert!(cut.first <= first && cut.second <= second);
            prop_assert!(cut.first == first || cut.second == second || cut.first.abs_diff(cut.second) <= 1);
        }

        #[test]
        fn windows_cover_everything_and_overlap_by_the_stride(
            len in 0usize..60, room in 1usize..20, stride in 0usize..20, left in any::<bool>(),
        ) {
            prop_assume!(stride < room);
            let side = if left { TruncationSide::Left } else { TruncationSide::Right };
            let mut all: Vec<_> = windows(len, room, stride, side).collect();
            if left {
                all.reverse();
            }
            prop_assert_eq!(all[0].start, 0);
            prop_assert_eq!(all[all.len() - 1].end, len);
            prop_assert!(all.iter().all(|window| window.len() <= room));
            for pair in all.windows(2) {
                let (full, common) = if left {
                    (&pair[1], pair[0].end - pair[1].start)
                } else {
                    (&pair[0], pair[0].end - pair[1].start)
                };
                prop_assert_eq!((full.len(), common), (room, stride));
            }
        }
    }
}
