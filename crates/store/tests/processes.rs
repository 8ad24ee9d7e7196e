//! Several processes on one store: publishing together, killed at any moment, on a full and on a read-only disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use retune_store::{Artifact, Digest, Flush, Journal, Store, StoreError, key_of};
use serde_json::json;

/// This test program again, running one of the `child_*` functions below.
fn child(name: &str, root: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture"]).env("RETUNE_TEST_STORE", root).stdout(Stdio::null());
    command
}

fn child_root() -> Option<PathBuf> {
    std::env::var_os("RETUNE_TEST_STORE").map(PathBuf::from)
}

fn publish(store: &Store, content: usize) -> Result<Digest, StoreError> {
    let writer = store.writer()?;
    writer.write_bytes("sub/large", &vec![content as u8; 300_000])?;
    writer.write_json("small.json", &content)?;
    store.publish(writer, "test", 1, json!({}))
}

/// Publishes, records and journals until killed or until everything is there.
#[test]
#[ignore = "run by the other tests as a process of its own"]
fn child_publishes() {
    let Some(root) = child_root() else { return };
    let store = Store::open(&root).unwrap();
    let work = store.work_dir(&key_of(&json!("job"))).unwrap();
    let mut journal = Journal::open(&work.join(format!("{}.jsonl", std::process::id())), Flush::Never).unwrap();
    for content in 0..30 {
        let digest = publish(&store, content).unwrap();
        store.record(&key_of(&json!(content)), &digest).unwrap();
        journal.append(&json!({ "content": content })).unwrap();
    }
}

#[test]
#[ignore = "run by the other tests as a process of its own"]
fn child_holds_a_lock() {
    let Some(root) = child_root() else { return };
    let _lock = Store::open(&root).unwrap().lock("job", |_| ()).unwrap();
    fs::write(root.join("locked"), "").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

/// Fills a disk of one megabyte made for it alone.
#[test]
#[ignore = "run by the other tests as a process of its own"]
fn child_fills_its_disk() {
    let Some(root) = child_root() else { return };
    let store = Store::open(&root).unwrap();
    let first = publish(&store, 1).unwrap();
    store.record(&key_of(&json!(1)), &first).unwrap();
    let error = (2..10).find_map(|content| publish(&store, content).err()).expect("one megabyte holds no nine objects");
    assert!(error.is_disk_full(), "{error}");
    assert!(error.to_string().contains("300000 bytes were needed; free some, or write to another disk"), "{error}");

    // What was there still is, what failed left nothing, and with some room it goes on.
    assert_eq!(store.lookup::<Digest>(&key_of(&json!(1))).unwrap(), Some(first));
    store.object(&first).unwrap().unwrap().verify_all().unwrap();
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
    check_all(&store);

    // The journal loses no line that it had and keeps no half of the one that failed.
    let path = root.join("journal.jsonl");
    let mut journal = Journal::open(&path, Flush::Never).unwrap();
    let line = "x".repeat(100_000);
    let error = (0..20).find_map(|_| journal.append(&line).err()).expect("the disk is full");
    assert!(error.is_disk_full(), "{error}");
    let n_lines = Journal::read::<String>(&path).unwrap().len();
    store.discard(&first).unwrap();
    journal.append(&line).unwrap();
    assert_eq!(Journal::read::<String>(&path).unwrap(), vec![line; n_lines + 1]);
    publish(&store, 1).unwrap_err();
    drop(journal);
    fs::remove_file(&path).unwrap();
    assert_eq!(publish(&store, 1).unwrap(), first);
}

#[test]
#[ignore = "run by the other tests as a process of its own"]
fn child_has_a_read_only_store() {
    let Some(root) = child_root() else { return };
    let store = Store::open(&root).unwrap();
    let digest = store.lookup::<Digest>(&key_of(&json!(1))).unwrap().unwrap();
    store.object(&digest).unwrap().unwrap().verify_all().unwrap();
    // Nothing new, nothing to write.
    store.record(&key_of(&json!(1)), &digest).unwrap();
    for error in [
        store.writer().map(|_| ()).unwrap_err(),
        store.record(&key_of(&json!(2)), &1).unwrap_err(),
        store.lock("job", |_| ()).map(|_| ()).unwrap_err(),
        Store::open(&root.join("new")).map(|_| ()).unwrap_err(),
    ] {
        let message = error.to_string();
        assert!(message.starts_with(&format!("cannot write to {}", root.display())), "{message}");
        assert!(message.contains(": read-only file system; choose another folder (`RETUNE_STORE` "), "{message}");
    }
}

/// Runs a child on a mount of its own, made by a shell script from the folder `$1`. Does nothing but say so where the
/// system does not let us mount.
fn in_own_mount(mount: &str, name: &str, root: &Path) {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh"]).arg(root);
        command.env("RETUNE_TEST_STORE", root).stdout(Stdio::null());
        command
    };
    if !unshare(mount).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped {name}: no mounts here");
        return;
    }
    let program = child(name, root);
    let status =
        unshare(&format!("{mount}\nshift\nexec \"$@\"")).arg(program.get_program()).args(program.get_args()).status();
    assert!(status.unwrap().success(), "{name} failed, see above");
}

/// Everything with a final name is whole.
fn check_all(store: &Store) -> usize {
    let mut n_objects = 0;
    for shard in fs::read_dir(store.root().join("objects")).unwrap() {
        for object in fs::read_dir(shard.unwrap().path()).unwrap() {
            let path = object.unwrap().path();
            let digest: Digest = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            assert_eq!(Artifact::open(&path).unwrap().digest(), digest);
            store.object(&digest).unwrap().unwrap().verify_all().unwrap();
            n_objects += 1;
        }
    }
    n_objects
}

fn spawn_all(n: usize, root: &Path) -> Vec<Child> {
    (0..n).map(|_| child("child_publishes", root).spawn().unwrap()).collect()
}

#[test]
fn concurrent_publishers() {
    let dir = tempfile::tempdir().unwrap();
    for mut child in spawn_all(4, dir.path()) {
        assert!(child.wait().unwrap().success());
    }
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(check_all(&store), 30);
    assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    for content in 0..30 {
        let digest: Digest = store.lookup(&key_of(&json!(content))).unwrap().unwrap();
        assert_eq!(store.object(&digest).unwrap().unwrap().read_json::<usize>("small.json").unwrap(), content);
    }
}

#[test]
fn killed_publishers() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let work = store.work_dir(&key_of(&json!("job"))).unwrap();
    let mut n_swept = 0;
    for round in 0..12 {
        let mut children = spawn_all(2, dir.path());
        // Starting a process may take long on a busy machine; the journals say that both are at work.
        while fs::read_dir(&work).unwrap().count() < 2 * (round + 1) {
            assert!(children.iter_mut().all(|child| child.try_wait().unwrap().is_none()));
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(7 * round as u64));
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        check_all(&store);
        for content in 0..30 {
            // A recorded object was published before, so it is there.
            if let Some(digest) = store.lookup::<Digest>(&key_of(&json!(content))).unwrap() {
                store.object(&digest).unwrap().unwrap().verify_all().unwrap();
            }
        }
        for journal in fs::read_dir(&work).unwrap() {
            Journal::read::<serde_json::Value>(&journal.unwrap().path()).unwrap();
        }
        n_swept += store.sweep_tmp();
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }
    assert!(n_swept > 0, "no kill hit a publisher at work");
    for mut child in spawn_all(1, dir.path()) {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(check_all(&store), 30);
}

#[test]
fn a_lock_dies_with_its_holder() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut holder = child("child_holds_a_lock", dir.path()).spawn().unwrap();
    while !dir.path().join("locked").exists() {
        assert!(holder.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(store.try_lock("job").unwrap().is_none());
    let pid = holder.id();
    let mut told = None;
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| store.lock("job", |holder| told = Some(holder)).map(|_| ()));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiter.is_finished());
        holder.kill().unwrap();
        holder.wait().unwrap();
        waiter.join().unwrap().unwrap();
    });
    assert_eq!(told, Some(Some(pid)));
}

#[test]
fn a_full_disk_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    in_own_mount(r#"mount -t tmpfs -o size=1m tmpfs "$1""#, "child_fills_its_disk", dir.path());
}

#[test]
fn a_read_only_store_answers_and_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let digest = publish(&store, 1).unwrap();
    store.record(&key_of(&json!(1)), &digest).unwrap();
    let mount = r#"mount --bind "$1" "$1"; mount -o remount,bind,ro "$1""#;
    in_own_mount(mount, "child_has_a_read_only_store", dir.path());
}
