//! The real Infrastructure Manager: installed once into `target/im-venv`, started once for each
//! run of the tests on a free port with a directory of its own.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// How long the server may take to answer its first request.
const START_LIMIT: Duration = Duration::from_secs(90);

/// The server, with the pipe that keeps it alive: it ends when this process does.
struct Server {
    url: String,
    _child: Child,
}

/// The URL of the server, which is started by the first caller.
pub(crate) async fn url() -> String {
    // A failed start is remembered too, so that not every check waits for it again.
    static SERVER: OnceCell<Result<Server, String>> = OnceCell::const_new();
    match SERVER.get_or_init(start).await {
        Ok(server) => server.url.clone(),
        Err(said) => panic!("{said}"),
    }
}

/// `target`, whatever it is called: cargo gives tests a folder below it.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .to_owned()
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests install and start the real server"
)]
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

fn run(what: &str, command: &mut Command) -> Result<(), String> {
    let needs =
        "the contract with Infrastructure Manager needs python3 with venv and pip, and PyPI";
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{what} did not start: {error}; {needs}"))?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Err(format!("{what} failed; {needs}:\n{out}{err}"))
}

/// The Python of the environment with IM, which is made if it is not there or not of these
/// requirements. Two test runs at once: the second waits for the first.
fn python() -> Result<PathBuf, String> {
    let folder = target().join("im-venv");
    let lock = File::create(target().join("im-venv.lock")).unwrap();
    lock.lock().unwrap();
    let python = folder.join("bin/python");
    let complete = folder.join("complete");
    if fs::read_to_string(&complete).is_ok_and(|made_of| made_of == REQUIREMENTS) {
        return Ok(python);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    let mut venv = command("python3");
    run("`python3 -m venv`", venv.args(["-m", "venv"]).arg(&folder))?;
    let list = target().join("im-requirements.txt");
    fs::write(&list, REQUIREMENTS).unwrap();
    let mut pip = command(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
    pip.arg("--disable-pip-version-check");
    run("`pip install im`", pip.arg("-r").arg(&list))?;
    fs::write(&complete, REQUIREMENTS).unwrap();
    Ok(python)
}

async fn start() -> Result<Server, String> {
    let python = tokio::task::spawn_blocking(python).await.unwrap()?;
    let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract_im/launch.py");
    loop {
        let directory = target().join(format!("tmp/im-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&directory).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let log = directory.join("output.log");
        let output = File::create(&log).unwrap();
        let mut child = command(&python)
            .arg(&launcher)
            .arg(&directory)
            .arg(port.to_string())
            .arg("remove")
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        if answers(&url, &mut child).await {
            return Ok(Server { url, _child: child });
        }
        drop(child.kill());
        drop(child.wait());
        let said = fs::read_to_string(&log).unwrap_or_default();
        // Somebody may have taken the port since we looked: then another one.
        if !said.contains("address already in use") {
            return Err(format!("Infrastructure Manager does not start:\n{said}"));
        }
    }
}

async fn answers(url: &str, child: &mut Child) -> bool {
    let deadline = Instant::now() + START_LIMIT;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        ticks.tick().await;
        if reqwest::get(format!("{url}/version")).await.is_ok() {
            return true;
        }
    }
    false
}
