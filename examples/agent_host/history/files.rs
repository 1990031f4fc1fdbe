//! Files and folders of transcripts, read line by line.
//!
//! A line is held whole only up to [`MAX_LINE`], a document only up to [`MAX_BYTES`]. Symbolic
//! links in folders are not followed, so they cannot form a loop. Nothing in a folder is fatal,
//! except an error in a recording of this project's own form, which is checked as a whole.

use super::form::{Form, Reader};
use super::json::{self, MAX_BYTES, digest_of};
use super::ledger::Ledger;
use super::{Account, History, swe_agent};
use crate::trace;
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// The longest line that is read, in bytes.
const MAX_LINE: usize = 16 << 20;
/// The number of bytes of a file that are read at first.
const HEAD_BYTES: usize = 1 << 20;
/// The number of lines within which one of them must show the form of a file.
const MAX_UNDECIDED: usize = 1000;
/// The number of bytes of them that are kept until then.
const MAX_KEPT: usize = 4 << 20;

/// Reads files, and all files in folders.
///
/// # Errors
///
/// One line about a file that cannot be read, that was named and is not a recording, or that is of
/// this project's own form and has an error; or about all files, if they hold no call.
pub(crate) fn load(paths: &[PathBuf]) -> Result<History, String> {
    let mut loading = Loading::default();
    for path in paths {
        if path.is_dir() {
            loading.folder(path)?;
        } else {
            let open = File::open(path).map_err(|error| format!("{}: {error}", shown(path)))?;
            if !loading.file(open, path, true)? {
                return Err(format!(
                    "{}: it has neither a document of at most {} MiB nor a line of at most {} \
                     MiB of a known form",
                    shown(path),
                    MAX_BYTES >> 20,
                    MAX_LINE >> 20,
                ));
            }
        }
    }
    loading.close()
}

/// Returns a path as one line of visible text.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    match text.chars().any(char::is_control) {
        true => text.escape_debug().to_string(),
        false => text,
    }
}

#[derive(Debug, Default)]
pub(super) struct Loading {
    history: History,
    ledger: Ledger,
    next_file: u64,
}

impl Loading {
    fn folder(&mut self, folder: &Path) -> Result<(), String> {
        for entry in WalkDir::new(folder).sort_by_file_name() {
            let account = &mut self.history.account;
            let Ok(entry) = entry else {
                account.unreadable_files += 1;
                continue;
            };
            if entry.depth() > 0 && entry.path_is_symlink() {
                account.links += 1;
            } else if entry.file_type().is_file() {
                match File::open(entry.path()) {
                    Ok(file) => {
                        if !self.file(file, entry.path(), false)? {
                            self.history.account.other_files += 1;
                        }
                    }
                    Err(_) => account.unreadable_files += 1,
                }
            }
        }
        Ok(())
    }

    /// Reads one file. Returns whether it is a recording.
    pub(super) fn file(
        &mut self,
        mut file: impl Read,
        path: &Path,
        is_named: bool,
    ) -> Result<bool, String> {
        let fail = |error: &io::Error| format!("{}: {error}", shown(path));
        self.next_file += 1;
        let head = match Head::read(&mut file) {
            Ok(head) => head,
            Err(error) if is_named => return Err(fail(&error)),
            Err(_) => {
                self.history.account.unreadable_files += 1;
                return Ok(true);
            }
        };
        let number = digest_of(("file", self.next_file));
        if let Some(document) = head.document() {
            self.document(&document, number);
            return Ok(true);
        }
        let Head {
            bytes: head,
            is_whole,
        } = head;
        match form_of(&head) {
            Some(Form::Reduced) => self.reduced(head, file, path).map(|()| true),
            None if is_named && is_whole && json::is_too_heavy(&head) => {
                let shown = shown(path);
                Err(format!(
                    "{shown}: a document with more values than are read"
                ))
            }
            None if is_named && is_whole && holds_json(&head) => {
                Err(format!("{}: it is of no known form", shown(path)))
            }
            // The error says what is wrong with the JSON.
            None if is_named && is_whole => self.reduced(head, file, path).map(|()| true),
            _ => {
                let whole = BufReader::new(Cursor::new(head).chain(file));
                let read = self.lines(whole, number);
                match read {
                    Err(error) if is_named => Err(fail(&error)),
                    Err(_) => {
                        self.history.account.unreadable_files += 1;
                        Ok(true)
                    }
                    Ok(is_recording) => Ok(is_recording),
                }
            }
        }
    }

    fn document(&mut self, document: &Value, number: u64) {
        let unknown = swe_agent::read(document, number, &mut self.ledger);
        let account = &mut self.history.account;
        *account.files.entry(Form::SweAgent).or_default() += 1;
        account.lines += 1;
        account.unknown_lines += unknown;
    }

    fn reduced(
        &mut self,
        mut bytes: Vec<u8>,
        mut rest: impl Read,
        path: &Path,
    ) -> Result<(), String> {
        let shown = shown(path);
        rest.read_to_end(&mut bytes)
            .map_err(|error| format!("{shown}: {error}"))?;
        let sessions = trace::parse(&bytes).map_err(|error| match error.line {
            Some(_) => format!("{shown}:{error}"),
            None => format!("{shown}: {error}"),
        })?;
        let account = &mut self.history.account;
        *account.files.entry(Form::Reduced).or_default() += 1;
        let calls = sessions.iter().flat_map(|session| &session.turns);
        account.lines += calls.map(|turn| turn.len() as u64).sum::<u64>();
        self.history.sessions.extend(sessions);
        Ok(())
    }

    /// Reads a file line by line. Returns whether one of its lines showed a form.
    fn lines(&mut self, mut file: impl BufRead, number: u64) -> io::Result<bool> {
        let mut found = Found::new(number);
        let mut line = Vec::new();
        let mut account = Account::default();
        while let Some(is_whole) = next_line(&mut file, &mut line)? {
            if !is_whole {
                account.long_lines += 1;
            } else if line.trim_ascii().is_empty() {
                continue;
            } else if let Some(value) = json::parse(&line) {
                found.take(value, line.len(), &mut self.ledger, &mut account);
            } else {
                account.broken_lines += 1;
            }
            let lines = account.broken_lines + account.unknown_lines + account.long_lines;
            if found.form.is_none() && lines as usize + found.kept.len() > MAX_UNDECIDED {
                return Ok(false);
            }
        }
        let Some(form) = found.form else {
            return Ok(false);
        };
        let all = &mut self.history.account;
        *all.files.entry(form).or_default() += 1;
        all.lines += account.lines;
        all.unknown_lines += account.unknown_lines;
        all.broken_lines += account.broken_lines;
        all.long_lines += account.long_lines;
        Ok(true)
    }

    /// Ends the reading, and returns what was read.
    pub(super) fn close(self) -> Result<History, String> {
        let Self {
            mut history,
            ledger,
            ..
        } = self;
        history.account.copies = ledger.copies;
        history.account.orphans = ledger.orphans;
        let (sessions, errors) = ledger.close();
        history.sessions.extend(sessions);
        history.errors = errors;
        if history.sessions.is_empty() {
            let account = history.account.to_string().replace('\n', "; ");
            return Err(format!("nothing that was read holds a call ({account})"));
        }
        Ok(history)
    }
}

/// The form of a file, once a line showed it, and the lines before.
struct Found {
    number: u64,
    form: Option<Form>,
    reader: Option<Box<dyn Reader>>,
    kept: Vec<Value>,
    kept_bytes: usize,
}

impl Found {
    fn new(number: u64) -> Self {
        Self {
            number,
            form: None,
            reader: None,
            kept: Vec::new(),
            kept_bytes: 0,
        }
    }

    fn take(&mut self, value: Value, bytes: usize, ledger: &mut Ledger, account: &mut Account) {
        if self.reader.is_none()
            && let Some(form) = Form::of(&value)
            && let Some(reader) = form.reader(self.number)
        {
            (self.form, self.reader) = (Some(form), Some(reader));
        }
        let Some(reader) = &mut self.reader else {
            self.kept_bytes += bytes;
            if self.kept_bytes <= MAX_KEPT {
                self.kept.push(value);
            } else {
                account.unknown_lines += 1;
            }
            return;
        };
        let before = std::mem::take(&mut self.kept);
        for value in before.iter().chain([&value]) {
            match reader.read(value, ledger) {
                true => account.lines += 1,
                false => account.unknown_lines += 1,
            }
        }
    }
}

/// Reads a line into the buffer. Returns whether it is whole: what is beyond [`MAX_LINE`] of it is
/// read and dropped. `None` at the end of the file.
fn next_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    line.shrink_to(HEAD_BYTES);
    if file
        .by_ref()
        .take(MAX_LINE as u64)
        .read_until(b'\n', line)?
        == 0
    {
        return Ok(None);
    }
    let is_whole = line.ends_with(b"\n") || line.len() < MAX_LINE;
    if !is_whole {
        file.skip_until(b'\n')?;
    }
    Ok(Some(is_whole))
}

/// The beginning of a file, or all of it if it may be one document.
struct Head {
    bytes: Vec<u8>,
    is_whole: bool,
}

impl Head {
    fn read(file: &mut impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        file.take(HEAD_BYTES as u64).read_to_end(&mut bytes)?;
        let mut head = Self {
            is_whole: bytes.len() < HEAD_BYTES,
            bytes,
        };
        let begins_object = head.bytes.trim_ascii_start().starts_with(b"{");
        if !head.is_whole && begins_object && head.first_line().is_none() {
            let rest = MAX_BYTES - HEAD_BYTES;
            let read = file.take(rest as u64).read_to_end(&mut head.bytes)?;
            head.is_whole = read < rest;
        }
        Ok(head)
    }

    /// Returns the first line that is not blank, if it is JSON.
    fn first_line(&self) -> Option<Value> {
        let mut lines = self.bytes.split(|&byte| byte == b'\n');
        json::parse(lines.find(|line| !line.trim_ascii().is_empty())?)
    }

    /// Returns the document that the file is, if it is one of a known form.
    fn document(&self) -> Option<Value> {
        let document = match self.first_line() {
            Some(document) => document,
            None if self.is_whole => json::parse(&self.bytes)?,
            None => return None,
        };
        (Form::of(&document) == Some(Form::SweAgent)).then_some(document)
    }
}

/// Returns whether a line is JSON.
fn holds_json(head: &[u8]) -> bool {
    let mut lines = head.split(|&byte| byte == b'\n');
    lines.any(|line| json::parse(line).is_some())
}

/// Returns the form that the beginning of a file shows.
fn form_of(head: &[u8]) -> Option<Form> {
    let lines = head.split(|&byte| byte == b'\n').take(MAX_UNDECIDED);
    lines
        .filter_map(json::parse)
        .find_map(|line| Form::of(&line))
}
