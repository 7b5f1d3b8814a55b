//! `roadstead hub backup` and `roadstead hub restore`.

use std::fs::File;
use std::io::{BufReader, BufWriter, IsTerminal as _, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use clap::Args as ClapArgs;
use roadstead_hub::seal::{Secret, StreamSeal, is_sealed_stream, open_stream};
use roadstead_store_sqlite::{OpenError, Options, SqliteStore};

use super::hub::secret;
use crate::args::Global;
use crate::client::{API, HubArgs};
use crate::output;
use crate::shell::{Hinted, Outcome};

/// Writes a backup.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A backup holds everything that a hub is: nouns, Releases, history, and also its CA and the key that it signs orders with.
Whoever can read it can command every cluster. With --passphrase-file it is sealed, and opens with that file alone.

Examples:
  roadstead hub backup hub-2026-11-21.backup --passphrase-file /etc/roadstead/backup.key
  roadstead hub backup - --passphrase-file backup.key | ssh vault 'cat > hub.backup'
  roadstead hub backup hub.backup --data /var/lib/roadstead      when no hub runs")]
pub(crate) struct BackupArgs {
    /// The file to write, which must not be there yet; `-` for standard output
    #[arg(value_name = "FILE")]
    to: PathBuf,
    /// Seal the backup with the secret in this file, of at least 16 bytes
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Read the store in this data folder instead of asking a running hub; no hub may run on it
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    hub: HubArgs,
}

/// Restores a backup.
#[derive(Debug, ClapArgs)]
pub(crate) struct RestoreArgs {
    /// The backup's file; `-` for standard input
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The hub's data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The file with the secret that the backup is sealed with
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A file of this process alone, which goes unless it is given its name.
struct Private {
    path: PathBuf,
    kept: bool,
}

impl Private {
    /// A new file beside `beside`, readable by its owner only.
    fn make(beside: &Path, what: &str) -> anyhow::Result<(Self, File)> {
        let mut name = beside.as_os_str().to_owned();
        name.push(format!(".{what}-{}", std::process::id()));
        let path = PathBuf::from(name);
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("failed to write {}", beside.display()))?;
        Ok((Self { path, kept: false }, file))
    }

    /// Gives it its name, durably.
    fn keep(mut self, file: &File, name: &Path) -> anyhow::Result<()> {
        let failed = || format!("failed to write {}", name.display());
        file.sync_all().with_context(failed)?;
        std::fs::rename(&self.path, name).with_context(failed)?;
        self.kept = true;
        let folder = name.parent().filter(|f| !f.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .with_context(failed)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Where a backup is written to, sealed or as it is.
enum Sink<W: Write> {
    Open(W),
    Sealed(Box<StreamSeal<W>>),
}

impl<W: Write> Sink<W> {
    fn new(to: W, secret: Option<&Secret>) -> anyhow::Result<Self> {
        Ok(match secret {
            Some(secret) => Self::Sealed(Box::new(StreamSeal::new(to, secret)?)),
            None => Self::Open(to),
        })
    }

    fn finish(self) -> anyhow::Result<W> {
        match self {
            Self::Open(mut to) => {
                to.flush()?;
                Ok(to)
            }
            Self::Sealed(seal) => Ok(seal.finish()?),
        }
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Open(to) => to.write(bytes),
            Self::Sealed(seal) => seal.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Open(to) => to.flush(),
            Self::Sealed(seal) => seal.flush(),
        }
    }
}

/// Writes a backup.
pub(crate) async fn backup(args: BackupArgs, global: &Global) -> Outcome {
    let secret = args.passphrase_file.as_deref().map(secret).transpose()?;
    let bytes = if is_dash(&args.to) {
        if std::io::stdout().is_terminal() {
            bail!("a backup is not for a terminal: send it to a file or to another program");
        }
        let mut sink = Sink::new(BufWriter::new(std::io::stdout()), secret.as_ref())?;
        let bytes = write(&args, global, &mut sink).await?;
        sink.finish()?;
        bytes
    } else {
        if args.to.exists() {
            bail!(
                "{} is there already: choose another name, or remove it",
                args.to.display()
            );
        }
        let (private, file) = Private::make(&args.to, "part")?;
        let mut sink = Sink::new(BufWriter::new(file), secret.as_ref())?;
        let bytes = write(&args, global, &mut sink).await?;
        let file = sink
            .finish()?
            .into_inner()
            .map_err(|error| error.into_error())
            .with_context(|| format!("failed to write {}", args.to.display()))?;
        private.keep(&file, &args.to)?;
        output::remark(
            global.quiet,
            format!("wrote {} ({bytes} bytes of data)", args.to.display()),
        );
        bytes
    };
    if secret.is_none() {
        // said even with --quiet: it is a danger, not a remark
        anstream::eprintln!(
            "warning: these {bytes} bytes hold the hub's CA and order key, and they are not sealed: whoever can read them can command every cluster. --passphrase-file seals them"
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn write(
    args: &BackupArgs,
    global: &Global,
    to: &mut (impl Write + Send),
) -> anyhow::Result<u64> {
    let Some(data) = &args.data else {
        let client = args.hub.client()?;
        let bar = output::spinner(global.quiet, "the hub copies its store");
        let path = format!("{API}/hubs/hub/backup");
        let bytes = client.download(&path, to).await;
        bar.finish_and_clear();
        return bytes.context("failed to back the hub up");
    };
    let file = data.join("hub.db");
    if !file.exists() {
        bail!("there is no hub's data in {}", data.display());
    }
    let options = Options {
        holder: "a backup".to_owned(),
        ..Options::default()
    };
    let store = SqliteStore::open(&file, options).map_err(|error| {
        let running = matches!(error, OpenError::InUse { .. });
        let error = anyhow::Error::new(error).context("failed to back the hub up");
        match running {
            true => Hinted {
                error,
                hint: "a hub that runs is backed up through its API: leave --data out".to_owned(),
            }
            .into(),
            false => error,
        }
    })?;
    let (copy, made) = Private::make(&file, "backup")?;
    // the store writes it itself, under the name that is now this process's
    drop(made);
    std::fs::remove_file(&copy.path).context("failed to make room for the copy")?;
    store
        .backup(&copy.path, |_| {})
        .context("failed to back the hub up")?;
    let mut from = File::open(&copy.path).context("failed to read the copy")?;
    Ok(std::io::copy(&mut from, to)?)
}

/// Restores a backup.
pub(crate) fn restore(args: &RestoreArgs) -> Outcome {
    let shown = args.from.display().to_string();
    let mut from: Box<dyn Read> = if is_dash(&args.from) {
        Box::new(std::io::stdin().lock())
    } else {
        let file =
            File::open(&args.from).with_context(|| format!("failed to read backup {shown}"))?;
        Box::new(BufReader::new(file))
    };
    let data = &args.data;
    std::fs::create_dir_all(data).with_context(|| format!("failed to make {}", data.display()))?;
    let own = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(data, own)
        .with_context(|| format!("failed to make {} private", data.display()))?;
    let to = data.join("hub.db");
    let (opened, mut file) = Private::make(&to, "opened")?;
    let mut beginning = Vec::new();
    from.by_ref().take(64).read_to_end(&mut beginning)?;
    let sealed = is_sealed_stream(&beginning);
    let mut from = std::io::Cursor::new(beginning).chain(from);
    match (sealed, &args.passphrase_file) {
        (true, Some(path)) => {
            open_stream(&mut from, BufWriter::new(&mut file), &secret(path)?)
                .with_context(|| format!("failed to open backup {shown}"))?;
        }
        (true, None) => {
            return Err(Hinted {
                error: anyhow!("backup {shown} is sealed"),
                hint: "give --passphrase-file with the file that it was sealed with".to_owned(),
            }
            .into());
        }
        (false, _) => {
            std::io::copy(&mut from, &mut file)
                .with_context(|| format!("failed to read backup {shown}"))?;
        }
    }
    drop(file);
    let restored = roadstead_store_sqlite::restore(&opened.path, &to, 0)
        .with_context(|| format!("failed to restore {shown}"))?;
    output::line(format!(
        "restored at revision {}, epoch {}",
        restored.revision, restored.epoch
    ))?;
    if let Some(replaced) = restored.replaced {
        output::line(format!(
            "what was there before is at {}",
            replaced.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
