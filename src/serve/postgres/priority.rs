//! Threads that step back for others.

/// How nice the threads of statements are: a live view's thread gets nine parts of a contended core, these one.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Lowers the priority of the calling thread and of those that it starts, where the system has such a thing.
pub fn lower() {
    #[cfg(target_os = "linux")]
    {
        use std::ffi::{c_int, c_uint};
        unsafe extern "C" {
            fn setpriority(which: c_int, who: c_uint, priority: c_int) -> c_int;
        }
        const PRIO_PROCESS: c_int = 0;
        // SAFETY: the C library's function takes plain numbers and touches no memory of ours. On Linux 0 is the calling
        // thread. It may fail, and then the thread goes on as it was.
        if unsafe { setpriority(PRIO_PROCESS, 0, NICENESS) } != 0 {
            tracing::debug!("a thread of statements keeps its priority");
        }
    }
}
