//! `trueup man`: the manual, made from the definition of what can be typed.

use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::args::{Arguments, ManArgs};
use super::exit::{ExitCode, Failure};
use crate::disk;

/// When what can be typed last changed, for the foot of the pages.
const DATE: &str = "2026-11-24";

pub(super) fn man(options: &ManArgs) -> Result<ExitCode, Failure> {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    match &options.dir {
        None => std::io::stdout().lock().write_all(page(&command)?.as_bytes())?,
        Some(dir) => {
            let mut names = Vec::new();
            write(&command, dir, &mut names)?;
            let mut out = std::io::stdout().lock();
            for name in names {
                writeln!(out, "{}", dir.join(name).display())?;
            }
        }
    }
    Ok(ExitCode::Success)
}

/// Writes the page of a command and of every command below it.
fn write(command: &Command, dir: &Path, names: &mut Vec<String>) -> Result<(), Failure> {
    let name = Man::new(command.clone()).get_filename();
    disk::replace(&dir.join(&name), page(command)?.as_bytes()).map_err(|error| {
        Failure::because("cli::man", &error).help("name a folder that can be written")
    })?;
    names.push(name);
    command
        .get_subcommands()
        .filter(|one| !one.is_hide_set())
        .try_for_each(|one| write(one, dir, names))
}

/// The page of a command. What its help says in the end comes in sections of its own.
fn page(command: &Command) -> Result<String, Failure> {
    let version = concat!("trueup ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).date(DATE).source(version).manual("trueup manual");
    let mut page = Page::default();
    page.add(|out| man.render_title(out))?;
    page.add(|out| man.render_name_section(out))?;
    page.add(|out| man.render_synopsis_section(out))?;
    page.add(|out| man.render_description_section(out))?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        page.add(|out| man.render_options_section(out))?;
    }
    if command.has_subcommands() {
        page.add(|out| man.render_subcommands_section(out))?;
    }
    if let Some(text) = command.get_after_long_help() {
        page.add(|out| sections(&text.to_string()).to_writer(out))?;
    }
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    if let Some((above, _)) = name.rsplit_once('-') {
        page.add(|out| see_also(above).to_writer(out))?;
    }
    Ok(page.0)
}

/// A page of the manual as it grows.
#[derive(Default)]
struct Page(String);

impl Page {
    /// Adds a part; what begins every part stands only before the first.
    fn add(&mut self, part: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut bytes = Vec::new();
        part(&mut bytes)?;
        // An empty line by two breaks is one that formatters complain of.
        let text = String::from_utf8_lossy(&bytes).replace("\n.br\n\n.br\n", "\n.sp\n");
        let begin = Roff::new().render();
        let rest = text.strip_prefix(&begin).filter(|_| !self.0.is_empty());
        self.0.push_str(rest.unwrap_or(&text));
        Ok(())
    }
}

/// Text of parts with empty lines between them: `Title:` or `Title (remark):` begins a section, and every other line
/// stands as it is.
fn sections(text: &str) -> Roff {
    let mut roff = Roff::new();
    for part in text.split("\n\n") {
        let mut lines = part.lines();
        let title = lines.next().unwrap_or_default().trim_end_matches(':');
        let (title, remark) = title.split_once(" (").unwrap_or((title, ""));
        roff.control("SH", [title.to_uppercase().as_str()]);
        if !remark.is_empty() {
            roff.text([roman(remark.trim_end_matches(')'))]);
            roff.control("PP", []);
        }
        roff.control("nf", []);
        for line in lines {
            roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        roff.control("fi", []);
    }
    roff
}

fn see_also(above: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold(above), roman("(1)")]);
    roff
}
