//! Where a plugin's values live.
//!
//! An instance lives for one call. So room is handed out in a row, from a part of the memory that is there from the
//! start, and what is freed is not looked for again: that takes a fraction of the time of a general allocator, and
//! memory that need not grow need not be taken back either. What does not fit goes to the standard library's
//! allocator, with all that it does.
//!
//! Guarantees what [`GlobalAlloc`] asks for, on one thread.

#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::{Cell, UnsafeCell},
};

/// How much there is in a row. A plugin over a resource of 4 KB needs about 50 KB.
const SIZE: usize = 512 << 10;
/// What every address in a row can be aligned to.
const MAX_ALIGN: usize = 16;

/// The allocator.
#[repr(align(16))]
pub(crate) struct Arena {
    room: UnsafeCell<[u8; SIZE]>,
    /// Where the free room begins.
    next: Cell<usize>,
}

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ARENA: Arena = Arena::new();

// SAFETY: plugins have no threads.
#[cfg(target_arch = "wasm32")]
unsafe impl Sync for Arena {}

impl Arena {
    const fn new() -> Self {
        Self {
            room: UnsafeCell::new([0; SIZE]),
            next: Cell::new(0),
        }
    }

    /// Where something stands in the room; none if it is elsewhere.
    fn position(&self, pointer: *mut u8) -> Option<usize> {
        let position = pointer.addr().wrapping_sub(self.room.get().addr());
        (position < SIZE).then_some(position)
    }

    /// Whether something is the last that was handed out.
    fn is_last(&self, position: usize, layout: Layout) -> bool {
        position + layout.size() == self.next.get()
    }
}

// SAFETY: what is handed out is within the room, aligned, and not handed out again before it is freed: `next` is
// beyond all of it. What is not within the room is the system's, as `position` tells.
unsafe impl GlobalAlloc for Arena {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let begin = self.next.get().next_multiple_of(layout.align());
        if layout.align() <= MAX_ALIGN && begin < SIZE && layout.size() <= SIZE - begin {
            self.next.set(begin + layout.size());
            // SAFETY: it is within the room, which is aligned to `MAX_ALIGN`.
            return unsafe { self.room.get().cast::<u8>().add(begin) };
        }
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match self.position(pointer) {
            Some(position) if self.is_last(position, layout) => self.next.set(position),
            Some(_) => {}
            // SAFETY: it is not within the room, so the system handed it out.
            None => unsafe { System.dealloc(pointer, layout) },
        }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(position) = self.position(pointer) else {
            // SAFETY: it is not within the room, so the system handed it out.
            return unsafe { System.realloc(pointer, layout, size) };
        };
        if self.is_last(position, layout) && size <= SIZE - position {
            self.next.set(position + size);
            return pointer;
        }
        if size <= layout.size() {
            return pointer;
        }
        // SAFETY: our caller promises that the size is one of a layout; both parts are at least as long as what is
        // copied, and apart.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(pointer, layout.size());
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something that was handed out, filled with one byte.
    struct Held {
        pointer: *mut u8,
        layout: Layout,
        filled: u8,
    }

    impl Held {
        fn is_whole(&self) -> bool {
            // SAFETY: it was handed out with this size.
            let bytes = unsafe { std::slice::from_raw_parts(self.pointer, self.layout.size()) };
            bytes.iter().all(|byte| *byte == self.filled) && self.pointer.addr().is_multiple_of(self.layout.align())
        }
    }

    /// The numbers of a linear congruential generator.
    fn numbers() -> impl FnMut(usize) -> usize {
        let mut state = 1_u64;
        move |below| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).unwrap_or_default() % below
        }
    }

    #[test]
    fn what_is_handed_out_stays_whole_until_it_is_freed() {
        let arena = Box::new(Arena::new());
        let mut below = numbers();
        let mut held: Vec<Held> = Vec::new();
        let mut inside = [0, 0];
        for step in 0..20_000 {
            let filled = u8::try_from(step % 251).unwrap_or_default();
            let most = [16, 200, 20_000][below(3)];
            let size = 1 + below(most);
            match (below(3), held.is_empty()) {
                (0, _) | (_, true) => {
                    let layout = Layout::from_size_align(size, 1 << below(7)).unwrap_or(Layout::new::<u8>());
                    // SAFETY: the size is not zero, and what is handed out is that long.
                    let pointer = unsafe { arena.alloc(layout) };
                    unsafe { pointer.write_bytes(filled, layout.size()) };
                    inside[usize::from(arena.position(pointer).is_some())] += 1;
                    held.push(Held {
                        pointer,
                        layout,
                        filled,
                    });
                }
                (1, false) => {
                    let one = held.swap_remove(below(held.len()));
                    assert!(one.is_whole());
                    // SAFETY: it was handed out with this layout, and is not used any more.
                    unsafe { arena.dealloc(one.pointer, one.layout) };
                }
                (_, false) => {
                    let at = below(held.len());
                    let one = &mut held[at];
                    let kept = one.layout.size().min(size);
                    // SAFETY: it was handed out with this layout; the size is not zero.
                    one.pointer = unsafe { arena.realloc(one.pointer, one.layout, size) };
                    one.layout = Layout::from_size_align(kept, one.layout.align()).unwrap_or(one.layout);
                    assert!(one.is_whole());
                    one.layout = Layout::from_size_align(size, one.layout.align()).unwrap_or(one.layout);
                    // SAFETY: it is that long.
                    unsafe { one.pointer.write_bytes(one.filled, size) };
                }
            }
        }
        assert!(held.iter().all(Held::is_whole));
        assert!(
            inside.iter().all(|count| *count > 20),
            "both have handed out: {inside:?}"
        );
        for one in held {
            // SAFETY: it was handed out with this layout, and is not used any more.
            unsafe { arena.dealloc(one.pointer, one.layout) };
        }
    }

    #[test]
    fn what_was_handed_out_last_grows_where_it_is_and_is_given_back() {
        let arena = Box::new(Arena::new());
        let layout = |size| Layout::from_size_align(size, 8).unwrap_or(Layout::new::<u8>());
        // SAFETY: no size is zero, and each layout is that of before.
        unsafe {
            let first = arena.alloc(layout(24));
            let grown = arena.realloc(first, layout(24), 4096);
            assert_eq!(grown, first);
            assert_eq!(arena.realloc(first, layout(4096), 10), first);
            assert_eq!(arena.next.get(), 10);
            arena.dealloc(first, layout(10));
            assert_eq!(arena.alloc(layout(SIZE)), first, "all of the room");
            let further = arena.alloc(layout(1));
            assert_eq!(arena.position(further), None);
            arena.dealloc(further, layout(1));
            arena.dealloc(first, layout(SIZE));
        }
    }
}
