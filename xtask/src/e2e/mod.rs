//! The end-to-end test: real clusters, a hub and agents in them as their users install them, and all that goes wrong.

mod compare;
mod proxy;
mod repository;
mod story;
mod tools;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::Context;
use world::{Plan, World};

const USAGE: &str = "usage: cargo xtask e2e [--quick | --debug | --image FILE --program FILE] [--corpus DIR] [--dir DIR] [--keep]";

/// The exit status when the machine cannot run what the test is to be run on.
const NO_CLUSTERS: u8 = 75;

struct Told {
    image: Option<PathBuf>,
    program: Option<PathBuf>,
    corpus: Option<PathBuf>,
    folder: Option<PathBuf>,
    /// Build the image with little optimization.
    quick: bool,
    /// Put the program into the image as `cargo build` makes it.
    debug: bool,
    /// When it fails, wait for Enter before all of it ends.
    keep: bool,
}

impl Told {
    fn read(flags: &[String]) -> anyhow::Result<Self> {
        let mut told = Self {
            image: None,
            program: None,
            corpus: std::env::var_os("ROADSTEAD_CORPUS").map(PathBuf::from),
            folder: None,
            quick: false,
            debug: false,
            keep: false,
        };
        let mut flags = flags.iter();
        while let Some(flag) = flags.next() {
            match flag.as_str() {
                "--keep" => {
                    told.keep = true;
                    continue;
                }
                "--quick" => {
                    told.quick = true;
                    continue;
                }
                "--debug" => {
                    told.debug = true;
                    continue;
                }
                _ => {}
            }
            let value = flags.next().map(PathBuf::from);
            let value = value.with_context(|| format!("{flag} wants a value"));
            match flag.as_str() {
                "--image" => told.image = Some(value?),
                "--program" => told.program = Some(value?),
                "--corpus" => told.corpus = Some(value?),
                "--dir" => told.folder = Some(value?),
                other => bail!("unknown flag {other}\n{USAGE}"),
            }
        }
        if told.image.is_some() != told.program.is_some() {
            bail!("--image and --program go together\n{USAGE}");
        }
        if let Some(corpus) = &told.corpus
            && !corpus.join("apps").is_dir()
        {
            bail!("the corpus {} has no folder `apps`", corpus.display());
        }
        Ok(told)
    }
}

/// Runs `cargo xtask e2e`.
pub(crate) fn run(context: &Context, flags: &[String]) -> anyhow::Result<ExitCode> {
    let told = Told::read(flags)?;
    let (image, program) = match (&told.image, &told.program) {
        (Some(image), Some(program)) => (image.clone(), program.clone()),
        _ if told.debug => crate::image::built_for_tests(context)?,
        _ => crate::image::built_here(context, told.quick)?,
    };
    for file in [&image, &program] {
        if !file.is_file() {
            bail!("no file {}", file.display());
        }
    }
    let temporary = tempfile::Builder::new().prefix("oracle-e2e-").tempdir()?;
    let folder = told.folder.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)
        .with_context(|| format!("failed to make {}", folder.display()))?;
    if folder
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some())
    {
        bail!("{} is not empty", folder.display());
    }
    let plan = Plan {
        root: &context.root,
        folder,
        image: &image,
        program: &program,
        corpus: told.corpus.as_deref(),
    };
    println!(
        "e2e: image {}, corpus {}",
        image.display(),
        plan.corpus.map_or_else(
            || "none: only the examples".to_owned(),
            |corpus| corpus.display().to_string()
        )
    );
    when_told_to_end(temporary.path())?;
    let begun = Instant::now();
    let mut world = match World::start(&plan) {
        Ok(world) => world,
        Err(error) => {
            println!("e2e: the clusters did not start: {error:#}");
            return Ok(ExitCode::from(NO_CLUSTERS));
        }
    };
    told_of(begun, "three real clusters, one with a real node", "ready");
    let outcome = tell(&mut world);
    if let Err(error) = outcome {
        world.show();
        println!(
            "\ne2e: FAILED after {:.0} s: {error:#}",
            begun.elapsed().as_secs_f64()
        );
        if told.keep {
            wait(folder);
        }
        return Ok(ExitCode::FAILURE);
    }
    drop(world);
    println!(
        "e2e: {} parts ok in {:.0} s",
        story::PARTS.len(),
        begun.elapsed().as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

/// Ends in order on Ctrl-C and the like: the processes end with this one, and the files are taken away here.
fn when_told_to_end(temporary: &Path) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let temporary = temporary.to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        println!("e2e: told to end");
        // those that write there still may have to be asked again; they end at the latest with this process
        for _ in 0..20 {
            if std::fs::remove_dir_all(&temporary).is_ok() {
                break;
            }
        }
        std::process::exit(130);
    });
    Ok(())
}

fn tell(world: &mut World) -> anyhow::Result<()> {
    for (what, part) in story::PARTS {
        let begun = Instant::now();
        let seen = part(world).with_context(|| (*what).to_owned())?;
        told_of(begun, what, &seen);
    }
    Ok(())
}

fn told_of(begun: Instant, what: &str, seen: &str) {
    println!(
        "e2e: ok {:5.1} s  {what}: {seen}",
        begun.elapsed().as_secs_f64()
    );
}

fn wait(folder: &Path) {
    println!(
        "e2e: all of it runs on, in {}; Enter ends it",
        folder.display()
    );
    // without anybody there it ends at once
    let _ = std::io::stdin().read_line(&mut String::new());
}
