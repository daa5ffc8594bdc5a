//! `evenkeel man`: the manual pages, from the definition of the command line.

use std::io;
use std::path::Path;

use crate::cli::{self, Man};
use crate::exit::Exit;
use crate::screen::{self, Failure, cause};
use crate::units::plural;

/// Prints the top page, or writes all pages into a folder.
pub(crate) fn run(man: &Man) -> Result<Exit, Failure> {
    let Some(folder) = &man.dir else {
        let page = top_page().map_err(|error| Failure::failed(cause(&error)))?;
        return screen::print(&page);
    };
    let written = write_pages(folder);
    let pages = written.map_err(|error| {
        let message = format!("cannot write manual pages to {}: {}", folder.display(), cause(&error));
        Failure::failed(message)
    })?;
    screen::print(&format!("wrote {} to {}\n", plural(pages, "page"), folder.display()))
}

fn top_page() -> io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(cli::command().disable_help_subcommand(true)).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// How many were written: one for the whole, and one for each verb and each of its parts.
fn write_pages(folder: &Path) -> io::Result<usize> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(cli::command(), folder)?;
    Ok(count(&cli::command()))
}

fn count(command: &clap::Command) -> usize {
    command.get_subcommands().map(count).sum::<usize>() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_testkit::TempDir;

    #[test]
    fn the_top_page_names_every_verb_and_every_exit_code() {
        let page = top_page().unwrap();
        assert!(page.contains(".TH evenkeel 1"), "{page}");
        for verb in cli::command().get_subcommands() {
            assert!(page.contains(&format!("evenkeel\\-{}(1)", verb.get_name())), "{page}");
        }
        assert!(page.contains("78"));
    }

    #[test]
    fn every_verb_has_a_page() {
        let dir = TempDir::new();
        let folder = dir.path().join("man/man1");
        let pages = write_pages(&folder).unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), pages);
        for name in ["evenkeel.1", "evenkeel-run.1", "evenkeel-target.1", "evenkeel-target-drain.1"] {
            assert!(folder.join(name).is_file(), "{name}");
        }
    }
}
