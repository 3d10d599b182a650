//! Which node calls: all of them call from one address, so it is asked of the kernel whose the other end is.

use std::fs;
use std::net::SocketAddr;

/// The name of the node that holds the first end of a connection; `None`: nobody who is a node. Reads a file for each
/// process.
pub(super) fn of((own, other): (SocketAddr, SocketAddr)) -> Option<String> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = inode(&table, own, other)?;
    let held = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    processes.into_iter().find_map(|process| {
        let name = node_name(&fs::read(process.join("cmdline")).ok()?)?;
        let mut files = fs::read_dir(process.join("fd")).ok()?.flatten();
        files.any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == &*held)).then_some(name)
    })
}

/// Of the socket that is at `own` and connected to `other`, in a table of the kernel's.
fn inode(table: &str, own: SocketAddr, other: SocketAddr) -> Option<&str> {
    let (own, other) = (written(own)?, written(other)?);
    table.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        (words.get(1) == Some(&&*own) && words.get(2) == Some(&&*other)).then(|| words.get(9).copied())?
    })
}

/// As the kernel writes an address: the bytes of the machine's word in hexadecimal.
fn written(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port()))
}

/// Behind `--node-name` in a command line, whose words end with a zero byte.
fn node_name(command: &[u8]) -> Option<String> {
    let mut words = command.split(|byte| *byte == 0);
    words.find(|word| *word == b"--node-name")?;
    Some(String::from_utf8_lossy(words.next()?).into_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};
    use tokio::process::Command;

    use super::*;

    #[test]
    fn a_command_line_names_its_node() {
        assert_eq!(node_name(b"thuban\0serve\0--node-name\0node2\0--http\0x\0").as_deref(), Some("node2"));
        assert_eq!(node_name(b"cat\0"), None);
    }

    #[tokio::test]
    async fn who_calls_is_found_by_its_command_line() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let call = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; read -r -u 3 _");
        let mut caller = Command::new("bash").args(["-c", &call, "--", "--node-name", "node7"]).spawn().unwrap();
        let (near, _) = listener.accept().await.unwrap();
        let ends = |near: &TcpStream| (near.peer_addr().unwrap(), near.local_addr().unwrap());
        assert_eq!(of(ends(&near)).as_deref(), Some("node7"));
        drop(near);
        caller.wait().await.unwrap();
        let own = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (near, _) = listener.accept().await.unwrap();
        assert_eq!(of(ends(&near)), None, "this test is no node");
        drop(own);
    }
}
