//! The pretend programs themselves: what runs on a front end as `helm`, `kubectl`, `clues` and `service`.
//!
//! One binary, `front-end-programs`, that looks at the name under which it was called.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

use super::protocol::{Call, Order, SOCKET};

/// Files larger than this are not looked at.
const FILE_LIMIT: u64 = 4 * 1024 * 1024;

/// helm's list of repositories, unless it is told another.
const REPOSITORIES: &str = "/root/.config/helm/repositories.yaml";

/// Runs the program whose name is the first argument's last part.
pub fn main() -> ExitCode {
    let mut args = std::env::args();
    let name = args.next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default().to_owned();
    let args: Vec<String> = args.collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let code = match runtime {
        Ok(runtime) => runtime.block_on(run(name.clone(), args)),
        Err(error) => Err(error.into()),
    };
    match code {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(
                &mut std::io::stderr(),
                &format!("Error: the simulated {name} failed: {error:#}\n"),
            );
            ExitCode::FAILURE
        }
    }
}

async fn run(program: String, args: Vec<String>) -> anyhow::Result<u8> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut files = BTreeMap::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let path = match word.split_once('=') {
            Some(("--values" | "--filename", path)) => Some(path.to_owned()),
            _ if matches!(word.as_str(), "-f" | "--values" | "--filename") => words.next().cloned(),
            _ => None,
        };
        if let Some(path) = path
            && let Some(content) = read_file(&path).await?
        {
            files.insert(path, content);
        }
        if Path::new(word).is_dir() {
            look_into(word, &mut files).await?;
        }
    }
    let list = std::env::var("HELM_REPOSITORY_CONFIG");
    let list = list.unwrap_or_else(|_not_set| REPOSITORIES.to_owned());
    let known = read_file(&list).await?.unwrap_or_default();
    let stream = UnixStream::connect(SOCKET)
        .await
        .context("reach the sandbox")?;
    let (reader, mut writer) = stream.into_split();
    let mut call = serde_json::to_vec(&Call {
        program,
        args,
        files,
        repositories: (list, known),
    })?;
    call.push(b'\n');
    writer.write_all(&call).await?;
    let mut lines = BufReader::new(reader).lines();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line?.context("the sandbox has ended")?,
            _ = terminate.recv() => { writer.write_all(b"end\n").await?; continue; }
            _ = interrupt.recv() => { writer.write_all(b"end\n").await?; continue; }
        };
        match serde_json::from_str(&line)? {
            Order::Out(text) => say(&mut std::io::stdout(), &text),
            Order::Err(text) => say(&mut std::io::stderr(), &text),
            Order::Write { path, content } => write_file(Path::new(&path), &content)?,
            Order::Pack { path, files } => pack(Path::new(&path), &files).await?,
            Order::Exit(code) => return Ok(code),
        }
    }
}

/// What helm looks at in the folder of a chart.
async fn look_into(folder: &str, files: &mut BTreeMap<String, String>) -> anyhow::Result<()> {
    for name in ["Chart.yaml", "Chart.lock"] {
        let path = format!("{folder}/{name}");
        if let Some(content) = read_file(&path).await? {
            files.insert(path, content);
        }
    }
    let charts = format!("{folder}/charts");
    if let Ok(entries) = std::fs::read_dir(&charts) {
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        files.insert(charts, names.collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}

/// Writes files into an archive.
async fn pack(path: &Path, files: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let beside = path.with_extension("parts");
    for (name, content) in files {
        write_file(&beside.join(name), content)?;
    }
    let mut tar = tokio::process::Command::new("tar");
    tar.arg("-czf").arg(path).arg("-C").arg(&beside).arg(".");
    let status = tar.status().await.context("run tar")?;
    anyhow::ensure!(status.success(), "tar ended with {status}");
    std::fs::remove_dir_all(&beside).context("remove what was packed")
}

async fn read_file(path: &str) -> anyhow::Result<Option<String>> {
    if path == "-" {
        let mut text = String::new();
        std::io::Read::read_to_string(
            &mut std::io::Read::take(std::io::stdin(), FILE_LIMIT),
            &mut text,
        )?;
        return Ok(Some(text));
    }
    let Ok(file) = tokio::fs::File::open(path).await else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT).read_to_end(&mut bytes).await?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn write_file(path: &Path, content: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, content).with_context(|| format!("write {}", path.display()))
}

/// Prints; a reader that is gone is not this program's matter.
fn say(to: &mut impl Write, text: &str) {
    drop(to.write_all(text.as_bytes()).and_then(|()| to.flush()));
}
