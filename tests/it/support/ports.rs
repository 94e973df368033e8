//! Loopback ports that no other test of this machine takes meanwhile.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;

/// Below the testbed's range (20000–31999) and the kernel's for outgoing connections (from 32768).
const FIRST: u16 = 12_000;
const COUNT: u32 = 8_000;

/// An address nobody listens on, kept for this test process until it ends: its lock file stays locked.
pub fn free_address() -> SocketAddr {
    static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().unwrap();
    let folder = std::env::temp_dir().join("countersign-test-ports");
    fs::create_dir_all(&folder).expect("make the folder of port locks");
    let start = std::process::id().wrapping_mul(31) % COUNT;
    for step in 0..COUNT {
        let port = FIRST + u16::try_from((start + step) % COUNT).expect("the range is small");
        let lock =
            File::options().create(true).append(true).open(folder.join(port.to_string())).expect("open a port's lock");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if lock.try_lock().is_ok() && TcpListener::bind(address).is_ok() {
            taken.push(lock);
            return address;
        }
    }
    panic!("no free port from {FIRST} on");
}
