//! Shared memory, typed so that safe code cannot cause undefined behavior.
//!
//! A structure is a static of one of three kinds: [`Locked`] (protected by its own lock), [`Unlocked`] (atomics) and
//! [`Table`] (an array of atomics whose size depends on a setting). The postmaster requests the memory for all of them at
//! once ([`install`]), and processes inherit their addresses when they are forked.
//!
//! Invariant: the contents of shared memory are [`Plain`]: valid if all bits are zero, as they are when the server
//! starts, and with the same meaning in every process. References into it live as long as the process; those behind a
//! lock are only given out while this process holds the lock, which is checked each time.
//!
//! The guarantees of a lock follow from PostgreSQL's rules for LWLocks:
//! - interrupts are held off while it is held: cancel and termination requests wait for its release;
//! - an error raised by the server resets the interrupt holdoff count, but does not release the lock. Rolling back the
//!   transaction or subtransaction releases it; outside of one, only the exit of the process does. If the error unwinds
//!   through the guard, the guard's drop comes first and releases the lock itself;
//! - if a subtransaction is rolled back during the guard's lifetime (by code that catches errors), that releases the lock,
//!   too. The next access then panics, and the drop does nothing.
//!
//! So hold a guard only for reading and writing memory, and do not call server functions that may raise errors meanwhile.

use pgrx::pg_sys::{self, LWLock};
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::Relaxed,
};

/// Types whose values mean the same in every process, and for which all bits zero are a valid value.
///
/// Declare structs with [`plain_struct!`] and enums with [`plain_enum!`], which see to it that this is true.
///
/// # Safety
/// No pointer, reference or handle of a process is in it; it needs no destructor; zeroed memory is a valid value.
pub unsafe trait Plain: 'static {}

macro_rules! plain {
    ($($of_type:ty),*) => {
        // SAFETY: numbers, booleans and their atomics.
        $(unsafe impl Plain for $of_type {})*
    };
}
plain!(bool, u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32, f64);
plain!(AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, AtomicUsize);
// SAFETY: plain values side by side.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}
// SAFETY: plain values side by side.
unsafe impl<A: Plain, B: Plain> Plain for (A, B) {}

/// Declares a struct for shared memory; every field must be [`Plain`].
macro_rules! plain_struct {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $of_type:ty,)*
        }
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $of_type,)*
        }
        // SAFETY: a struct of plain fields, which the constant below proves.
        #[allow(unsafe_code)]
        unsafe impl $crate::pg::ipc::shared_memory::Plain for $name {}
        const _: () = {
            const fn is_plain<T: $crate::pg::ipc::shared_memory::Plain>() {}
            $(is_plain::<$of_type>();)*
        };
    };
}
pub(crate) use plain_struct;

/// Declares an enum without data for shared memory; zeroed memory is its first variant.
macro_rules! plain_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $($(#[$variant_meta:meta])* $variant:ident,)*
        }
    ) => {
        $(#[$meta])*
        #[repr(u8)]
        $vis enum $name {
            $($(#[$variant_meta])* $variant,)*
        }
        // SAFETY: a number without explicit values, of which the first is 0.
        #[allow(unsafe_code)]
        unsafe impl $crate::pg::ipc::shared_memory::Plain for $name {}
    };
}
pub(crate) use plain_enum;

/// A structure for which [`install`] requests memory.
///
/// # Safety
/// Only implemented by the three kinds in this file.
pub unsafe trait Structure: Sync {
    /// Its name, which is unique in shared memory.
    fn name(&self) -> &'static CStr;
    /// Its size in bytes, which does not change while the server runs.
    fn size(&self) -> usize;
    /// Whether it has a lock of its own.
    fn is_locked(&self) -> bool;
    /// Called with its memory, which is zeroed at first.
    ///
    /// # Safety
    /// The memory has [`Self::size`] bytes, is aligned to a cache line, and is used for nothing else.
    unsafe fn attach(&self, memory: *mut u8);
}

/// A value protected by its own lock.
pub struct Locked<T> {
    name: &'static CStr,
    value: AtomicPtr<T>,
    lock: AtomicPtr<LWLock>,
}

impl<T: Plain + Send> Locked<T> {
    /// A structure with this name, to be passed to [`install`].
    pub const fn new(name: &'static CStr) -> Self {
        Self { name, value: AtomicPtr::new(ptr::null_mut()), lock: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Locks the value in share mode until the guard is dropped.
    pub fn share(&'static self) -> Shared<T> {
        let (lock, value) = self.acquire(pg_sys::LWLockMode::LW_SHARED);
        Shared { value, lock }
    }

    /// Locks the value exclusively until the guard is dropped.
    pub fn exclusive(&'static self) -> Exclusive<T> {
        let (lock, value) = self.acquire(pg_sys::LWLockMode::LW_EXCLUSIVE);
        Exclusive { value, lock }
    }

    fn acquire(&self, mode: pg_sys::LWLockMode::Type) -> (Lock, *mut T) {
        let (lock, value) = (self.lock.load(Relaxed), self.value.load(Relaxed));
        assert!(!value.is_null(), "shared memory is accessed before it is initialized");
        // SAFETY: a lock of the server's; waits without interrupts.
        unsafe { pg_sys::LWLockAcquire(lock, mode) };
        (Lock(lock), value)
    }
}

// SAFETY: by the trait's promise the memory is this structure's alone.
unsafe impl<T: Plain + Send> Structure for Locked<T> {
    fn name(&self) -> &'static CStr {
        self.name
    }
    fn size(&self) -> usize {
        size_of::<T>()
    }
    fn is_locked(&self) -> bool {
        true
    }
    unsafe fn attach(&self, memory: *mut u8) {
        const { assert!(align_of::<T>() <= ALIGNMENT) };
        // SAFETY: the tranche was requested with this name and one lock.
        let lock = unsafe { &raw mut (*pg_sys::GetNamedLWLockTranche(self.name.as_ptr())).lock };
        self.lock.store(lock, Relaxed);
        self.value.store(memory.cast(), Relaxed);
    }
}

unsafe extern "C-unwind" {
    // Do not use pgrx's binding: its guard costs more than the call, which raises no errors.
    fn LWLockHeldByMe(lock: *mut LWLock) -> bool;
}

/// An acquired lock, released when this is dropped unless it has been released already.
struct Lock(*mut LWLock);

impl Lock {
    #[inline]
    fn is_held(&self) -> bool {
        // SAFETY: an LWLock; searches this process's list of held locks.
        unsafe { LWLockHeldByMe(self.0) }
    }

    #[inline]
    fn require(&self) {
        assert!(self.is_held(), "a lock on shared memory was released while its guard was in use");
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.is_held() {
            return;
        }
        // SAFETY: the lock is held. Releasing it resumes interrupts, but an error raised by the server has reset the
        // holdoff count: without holding them off again the counter would wrap around, and interrupts would never be
        // serviced again.
        unsafe {
            if pg_sys::InterruptHoldoffCount == 0 {
                pg_sys::InterruptHoldoffCount = 1;
            }
            pg_sys::LWLockRelease(self.0);
        }
    }
}

/// The value of a [`Locked`], in share mode.
pub struct Shared<T: 'static> {
    value: *const T,
    lock: Lock,
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.lock.require();
        // SAFETY: attached memory, zeroed or written through `exclusive`; writers wait for the lock.
        unsafe { &*self.value }
    }
}

/// The value of a [`Locked`], in exclusive mode.
pub struct Exclusive<T: 'static> {
    value: *mut T,
    lock: Lock,
}

impl<T> Deref for Exclusive<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.lock.require();
        // SAFETY: attached memory, zeroed or written through `exclusive`; the lock excludes all other accesses,
        // including those of this process, which would wait for itself.
        unsafe { &*self.value }
    }
}

impl<T> DerefMut for Exclusive<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.lock.require();
        // SAFETY: as in `deref`.
        unsafe { &mut *self.value }
    }
}

/// Atomics without a lock.
pub struct Unlocked<T> {
    name: &'static CStr,
    value: AtomicPtr<T>,
}

impl<T: Plain + Sync> Unlocked<T> {
    /// A structure with this name, to be passed to [`install`].
    pub const fn new(name: &'static CStr) -> Self {
        Self { name, value: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The shared value.
    #[inline]
    pub fn get(&'static self) -> &'static T {
        let value = self.value.load(Relaxed);
        assert!(!value.is_null(), "shared memory is accessed before it is initialized");
        // SAFETY: attached memory, zeroed, and changed through atomics only.
        unsafe { &*value }
    }
}

// SAFETY: by the trait's promise the memory is this structure's alone.
unsafe impl<T: Plain + Sync> Structure for Unlocked<T> {
    fn name(&self) -> &'static CStr {
        self.name
    }
    fn size(&self) -> usize {
        size_of::<T>()
    }
    fn is_locked(&self) -> bool {
        false
    }
    unsafe fn attach(&self, memory: *mut u8) {
        const { assert!(align_of::<T>() <= ALIGNMENT) };
        self.value.store(memory.cast(), Relaxed);
    }
}

/// A table of atomics whose size is fixed at server start.
pub struct Table<E> {
    name: &'static CStr,
    wanted: fn() -> usize,
    entries: AtomicPtr<E>,
    count: AtomicUsize,
    of: PhantomData<E>,
}

impl<E: Plain + Sync> Table<E> {
    /// A structure with this name, to be passed to [`install`]; `wanted` is called once to get the number of entries.
    pub const fn new(name: &'static CStr, wanted: fn() -> usize) -> Self {
        let entries = AtomicPtr::new(ptr::null_mut());
        Self { name, wanted, entries, count: AtomicUsize::new(0), of: PhantomData }
    }

    /// The shared entries; none before initialization.
    #[inline]
    pub fn entries(&'static self) -> &'static [E] {
        let entries = self.entries.load(Relaxed);
        if entries.is_null() {
            return &[];
        }
        // SAFETY: attached memory for `count` entries, zeroed, and changed through atomics only.
        unsafe { std::slice::from_raw_parts(entries, self.count.load(Relaxed)) }
    }
}

// SAFETY: by the trait's promise the memory is this structure's alone. The number of entries is determined once.
unsafe impl<E: Plain + Sync> Structure for Table<E> {
    fn name(&self) -> &'static CStr {
        self.name
    }
    fn size(&self) -> usize {
        if self.count.load(Relaxed) == 0 {
            self.count.store((self.wanted)(), Relaxed);
        }
        self.count.load(Relaxed) * size_of::<E>()
    }
    fn is_locked(&self) -> bool {
        false
    }
    unsafe fn attach(&self, memory: *mut u8) {
        const { assert!(align_of::<E>() <= ALIGNMENT) };
        self.entries.store(memory.cast(), Relaxed);
    }
}

/// The server's alignment of shared memory.
const ALIGNMENT: usize = 64;
/// Index of the server's lock for allocating shared memory (AddinShmemInitLock).
const ADDIN_LOCK: usize = 21;

static STRUCTURES: OnceLock<&[&dyn Structure]> = OnceLock::new();
static PREVIOUS: OnceLock<Previous> = OnceLock::new();

struct Previous {
    request: pg_sys::shmem_request_hook_type,
    startup: pg_sys::shmem_startup_hook_type,
}

/// Requests memory for all structures; called once, from `_PG_init`, after settings have been defined.
pub fn install(structures: &'static [&'static dyn Structure]) {
    let is_twice = |name| structures.iter().filter(|one| one.name() == name).count() > 1;
    assert!(!structures.iter().any(|one| is_twice(one.name())), "shared memory name is not unique");
    assert!(STRUCTURES.set(structures).is_ok(), "shared memory is requested twice");
    // SAFETY: the postmaster is alone while it loads libraries; the hooks call those that were there before.
    unsafe {
        PREVIOUS.get_or_init(|| Previous {
            request: pg_sys::shmem_request_hook,
            startup: pg_sys::shmem_startup_hook,
        });
        pg_sys::shmem_request_hook = Some(request);
        pg_sys::shmem_startup_hook = Some(startup);
    }
}

fn structures() -> &'static [&'static dyn Structure] {
    STRUCTURES.get().copied().unwrap_or_default()
}

unsafe extern "C-unwind" fn request() {
    // SAFETY: only the postmaster runs this, in one thread.
    unsafe {
        if let Some(previous) = PREVIOUS.get().and_then(|p| p.request) {
            previous();
        }
        for one in structures() {
            pg_sys::RequestAddinShmemSpace(one.size() + ALIGNMENT);
            if one.is_locked() {
                pg_sys::RequestNamedLWLockTranche(one.name().as_ptr(), 1);
            }
        }
    }
}

unsafe extern "C-unwind" fn startup() {
    // SAFETY: the postmaster runs this, and again after each crash; the memory has the requested size, is aligned to a cache
    // line, and is zeroed here before any other process sees it.
    unsafe {
        if let Some(previous) = PREVIOUS.get().and_then(|p| p.startup) {
            previous();
        }
        let lock = &raw mut (*pg_sys::MainLWLockArray.add(ADDIN_LOCK)).lock;
        pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        for one in structures() {
            let mut found = false;
            let memory = pg_sys::ShmemInitStruct(one.name().as_ptr(), one.size(), &mut found);
            let memory = memory.cast::<u8>();
            assert!(memory.addr().is_multiple_of(ALIGNMENT), "shared memory is not aligned");
            if !found {
                ptr::write_bytes(memory, 0, one.size());
            }
            one.attach(memory);
        }
        pg_sys::LWLockRelease(lock);
    }
}
