//! Adds `CREATE SCHEMA … DISTRIBUTED` to the stock scanner.
//!
//! The scanner looks up every unquoted word in `ScanKeywords` through a function pointer in that exported table, and
//! passes a pointer into its own scratch copy of the text. The pointer is swapped once, in the postmaster: a data page,
//! never executable memory. Our function behaves like the original, but also overwrites the clause with blanks in the
//! scratch copy when it sees the word SCHEMA after the word CREATE. No state is kept: the utility hook parses the
//! clause again from the statement's own text.
//!
//! Two things make it delicate. The scanner puts a NUL after the current word, so the byte after SCHEMA is examined
//! while the scanner is still at CREATE. And `quote_identifier` calls the same function with strings that are not scan
//! buffers, so nothing is written before a contiguous `create … schema` proves a scan, and memory beyond the word's
//! page is only read through the kernel.

use helios_core::{clause, lex};
use pgrx::pg_sys;
use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering::Relaxed};

type Hash = unsafe extern "C-unwind" fn(*const c_void, usize) -> c_int;

/// The smallest page of any platform; pages are multiples of it.
const PAGE: usize = 4096;
/// Maximum distance from CREATE to SCHEMA.
const GAP: usize = 4096;
const WORD: usize = 6;
const UNKNOWN: i32 = -1;

// A backend has a single thread: plain loads and stores are cheaper than thread-local storage of a shared library.
static ORIGINAL: AtomicUsize = AtomicUsize::new(0);
static CREATE: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
/// The byte after SCHEMA, seen while the scanner was still at CREATE.
static LAST_BYTE: AtomicI32 = AtomicI32::new(UNKNOWN);
/// Set while the stock scanner is needed.
static BYPASS: AtomicBool = AtomicBool::new(false);
static STATE: OnceLock<Result<(), String>> = OnceLock::new();

/// Why the clause is not supported; None if it is. Set by [`install`].
pub fn trouble() -> Option<&'static str> {
    match STATE.get() {
        None => Some("helios.grammar is off"),
        Some(Ok(())) => None,
        Some(Err(reason)) => Some(reason),
    }
}

/// Runs `work` with the stock scanner.
pub fn bypassed<T>(work: impl FnOnce() -> T) -> T {
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            BYPASS.store(false, Relaxed);
        }
    }
    let _back = Back;
    BYPASS.store(true, Relaxed);
    work()
}

/// Swaps the pointer, and verifies that the clause is recognized and everything else is unchanged; otherwise restores
/// the pointer and returns the reason. Called once, in the postmaster.
pub fn install() -> Result<(), &'static str> {
    let state = STATE.get_or_init(|| {
        let original = swap(hash as *const () as usize)?;
        ORIGINAL.store(original, Relaxed);
        self_test().inspect_err(|_| {
            // The page was just writable; if it no longer is, our function stays and behaves like the original.
            let _ = swap(original);
        })
    });
    state.as_ref().map(|&()| ()).map_err(String::as_str)
}

/// Replaces the server's keyword hash function.
///
/// # Safety
/// As for the original: `key` points to `length` bytes.
unsafe extern "C-unwind" fn hash(key: *const c_void, length: usize) -> c_int {
    if length == WORD && !BYPASS.load(Relaxed) {
        let word = key.cast::<u8>().cast_mut();
        // SAFETY: `length` bytes are readable.
        let text = unsafe { std::slice::from_raw_parts(word, WORD) };
        if text.eq_ignore_ascii_case(b"create") {
            // SAFETY: reads only the word's page, or lets the kernel read.
            LAST_BYTE.store(unsafe { byte_after_schema(word) }, Relaxed);
            CREATE.store(word, Relaxed);
        } else if text.eq_ignore_ascii_case(b"schema") {
            let create = CREATE.swap(std::ptr::null_mut(), Relaxed);
            let gap = (word as usize).wrapping_sub(create as usize);
            if !create.is_null() && gap > WORD && gap <= GAP {
                // SAFETY: `create` may be dangling; the function first verifies that it is not.
                unsafe { found_create_schema(create, gap) }
            }
        }
    }
    // SAFETY: ORIGINAL is the server's function from before the swap, called with the same arguments.
    unsafe {
        let original: Hash = std::mem::transmute::<usize, Hash>(ORIGINAL.load(Relaxed));
        original(key, length)
    }
}

/// Blanks the clause if `create … schema` begins a statement that has one.
///
/// # Safety
/// `create + gap` points to the word SCHEMA, followed by a readable byte.
#[cold]
#[inline(never)]
unsafe fn found_create_schema(create: *mut u8, gap: usize) {
    let mut copy = [0u8; GAP];
    let before = &mut copy[..gap];
    if create as usize / PAGE == (create as usize + gap) / PAGE {
        // SAFETY: within the page that SCHEMA lies in.
        unsafe { std::ptr::copy_nonoverlapping(create, before.as_mut_ptr(), gap) };
    } else if read_by_kernel(create, before) < gap {
        return;
    }
    let (word, between) = before.split_at(WORD);
    if !word.eq_ignore_ascii_case(b"create") || lex::skip_space(between, 0) != between.len() {
        return;
    }
    // SAFETY: one contiguous text with CREATE and SCHEMA in it: the scanner's buffer, which belongs to it alone and
    // ends with two NULs, so that the byte behind the held one is readable. The held byte is a NUL now.
    unsafe {
        let held = create.add(gap + WORD);
        if *held != 0 {
            return;
        }
        let length = libc::strlen(held.add(1).cast());
        let rest = std::slice::from_raw_parts_mut(held.add(1), length);
        let last_byte = u8::try_from(LAST_BYTE.load(Relaxed)).ok();
        if let Some(range) = find_clause(last_byte, rest) {
            clause::blank(&mut rest[range]);
        }
    }
}

fn find_clause(last_byte: Option<u8>, rest: &[u8]) -> Option<Range<usize>> {
    const DISTRIBUTED: &[u8] = b"distributed";
    let mentioned = rest.windows(DISTRIBUTED.len()).any(|w| w.eq_ignore_ascii_case(DISTRIBUTED));
    // A panic would terminate the backend. The parser should never panic; this makes sure.
    let find = || clause::after_schema(last_byte, rest);
    mentioned.then(|| std::panic::catch_unwind(find).unwrap_or(None)).flatten()
}

/// The byte after the word SCHEMA if that word follows, else [`UNKNOWN`].
///
/// # Safety
/// `create` points to six readable bytes.
unsafe fn byte_after_schema(create: *const u8) -> i32 {
    let held = create.wrapping_add(WORD);
    let room = PAGE - (held as usize % PAGE) - 1;
    let start = held.wrapping_add(1);
    if held as usize / PAGE == create as usize / PAGE && room > 0 {
        // SAFETY: if one byte of a page is readable, so is the rest.
        let here = unsafe { std::slice::from_raw_parts(start, room) };
        if let Some(byte) = peek(here) {
            return byte;
        }
    }
    let mut copy = [0u8; GAP];
    let length = read_by_kernel(start, &mut copy);
    peek(&copy[..length]).unwrap_or(UNKNOWN)
}

/// Finds SCHEMA in the text after CREATE and the byte held by the scanner. None if the text is too short to tell.
fn peek(text: &[u8]) -> Option<i32> {
    let (text, whole) = match text.iter().position(|&byte| byte == 0) {
        Some(end) => (&text[..end], true),
        None => (text, false),
    };
    let undecided = if whole { Some(UNKNOWN) } else { None };
    let at = match text.first() {
        None => return undecided,
        // The held byte was the first one of a comment.
        Some(b'*') => lex::block_comment_end(text, 1),
        Some(b'-') => text.iter().position(|byte| matches!(byte, b'\n' | b'\r')),
        Some(_) => Some(0),
    };
    let Some(at) = at.map(|at| lex::skip_space(text, at)) else { return undecided };
    match text.get(at..=at + WORD) {
        None => undecided,
        Some(word) if word[..WORD].eq_ignore_ascii_case(b"schema") => Some(i32::from(word[WORD])),
        Some(_) => Some(UNKNOWN),
    }
}

/// Copies memory of this process through the kernel, which stops where it is not readable. Returns the number of bytes
/// copied.
fn read_by_kernel(from: *const u8, into: &mut [u8]) -> usize {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // The kernel stops at the range with the unreadable page, so use one range up to the page's end and one after it.
    let first = (PAGE - from as usize % PAGE).min(into.len());
    let range = |at: usize, length| libc::iovec {
        iov_base: from.wrapping_add(at).cast_mut().cast(),
        iov_len: length,
    };
    let remote = [range(0, first), range(first, into.len() - first)];
    // SAFETY: the lists have the lengths given; `into` is writable; the kernel detects a bad address.
    let copied =
        unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, remote.as_ptr(), 2, 0) };
    match usize::try_from(copied) {
        Ok(copied) => copied,
        // Containers may block the system call.
        Err(_) => read_from_file(from, into).unwrap_or(0),
    }
}

/// Like [`read_by_kernel`], through /proc/self/mem.
fn read_from_file(from: *const u8, into: &mut [u8]) -> std::io::Result<usize> {
    use std::os::unix::fs::FileExt;
    // Opened each time, because a descriptor opened before a fork refers to the parent's memory.
    std::fs::File::open("/proc/self/mem")?.read_at(into, from as u64)
}

/// Sets the scanner's hash function; returns the previous one.
fn swap(function: usize) -> Result<usize, String> {
    let table = &raw const pg_sys::ScanKeywords;
    // SAFETY: the table is an exported constant of the server; no other thread exists in the postmaster, the slot is
    // an aligned pointer, and its page is given back the protection that it had.
    unsafe {
        let slot = (&raw const (*table).hash).cast::<usize>().cast_mut();
        let permissions = permissions_of(slot as usize)?;
        if permissions.contains('x') {
            return Err(format!("keyword table is in executable memory ({permissions})"));
        }
        let size = libc::sysconf(libc::_SC_PAGESIZE).max(PAGE as libc::c_long) as usize;
        let page = (slot as usize & !(size - 1)) as *mut c_void;
        let protected = !permissions.contains('w');
        let allow = libc::PROT_READ | libc::PROT_WRITE;
        if protected && libc::mprotect(page, size, allow) != 0 {
            let error = std::io::Error::last_os_error();
            return Err(format!("could not make keyword table writable: {error}"));
        }
        let before = slot.read_volatile();
        slot.write_volatile(function);
        if protected {
            libc::mprotect(page, size, libc::PROT_READ);
        }
        Ok(before)
    }
}

fn permissions_of(address: usize) -> Result<String, String> {
    let maps = std::fs::read_to_string("/proc/self/maps")
        .map_err(|error| format!("could not read /proc/self/maps: {error}"))?;
    let holds = |line: &&str| {
        let bounds = line.split_whitespace().next().and_then(|range| range.split_once('-'));
        let number = |text| usize::from_str_radix(text, 16).ok();
        bounds.is_some_and(|(from, to)| {
            number(from).is_some_and(|from| from <= address)
                && number(to).is_some_and(|to| address < to)
        })
    };
    let line = maps.lines().find(holds);
    let permissions = line.and_then(|line| line.split_whitespace().nth(1));
    permissions
        .map(str::to_owned)
        .ok_or_else(|| "keyword table is not in a memory mapping".to_owned())
}

/// Verifies that several spellings of the clause are recognized, that keywords are found as before, and that memory can
/// be read through the kernel.
fn self_test() -> Result<(), String> {
    let (known, mut read) = (*b"helios", [0u8; 6]);
    if read_by_kernel(known.as_ptr(), &mut read) != known.len() || read != known {
        return Err("self-test failed: the process cannot read its own memory".into());
    }
    for word in [c"schema", c"create", c"select", c"zone"] {
        // SAFETY: both arguments live forever.
        let found =
            unsafe { pg_sys::ScanKeywordLookup(word.as_ptr(), &raw const pg_sys::ScanKeywords) };
        if found < 0 {
            return Err("self-test failed: keywords were not recognized".into());
        }
    }
    for text in [
        c"CREATE SCHEMA helios_self_test DISTRIBUTED",
        c"create/**/schema \"Helios\"distributed ON NODE \"a\" WITH (b = 1) AUTHORIZATION x; SELECT 1",
    ] {
        // There is no error handling or client yet, so errors thrown by the scanner are caught here.
        let parsed = pgrx::PgTryBuilder::new(|| {
            // SAFETY: the string is NUL-terminated; the parser copies it.
            let list = unsafe {
                pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT)
            };
            !list.is_null()
        })
        .catch_others(|_| false)
        .execute();
        if !parsed {
            return Err("self-test failed: clause was not recognized".into());
        }
    }
    Ok(())
}
