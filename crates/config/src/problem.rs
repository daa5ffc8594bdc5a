//! What is wrong with a configuration, and how it is shown.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};

/// Everything that is wrong with a configuration; nothing of it was adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// In the order of the files and of their lines; never empty.
    pub list: Vec<Problem>,
    /// How many more there are beyond [`MAX_PROBLEMS`](crate::limits::MAX_PROBLEMS).
    pub omitted: usize,
}

/// One thing that is wrong, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name, as the caller or `include` gave it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Byte offsets in the file.
    pub span: Range<usize>,
    /// One sentence, without a final dot.
    pub message: String,
    /// What to do about it.
    pub advice: Option<String>,
    excerpt: Excerpt,
}

/// The line of a problem, as far as its mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Excerpt {
    text: String,
    mark: Range<usize>,
}

impl Problems {
    /// Every problem with its place, source line and advice, and a last line that counts them. `color` adds ANSI
    /// escape sequences; control characters of the file are never passed on.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut text = String::new();
        for problem in &self.list {
            text.push_str(&renderer.render(&[problem.group()]));
            text.push_str("\n\n");
        }
        let count = self.list.len().saturating_add(self.omitted);
        let shown = if self.omitted > 0 {
            format!("; the first {} are shown", self.list.len())
        } else {
            String::new()
        };
        let plural = if count == 1 { "" } else { "s" };
        text.push_str(&format!("{count} problem{plural}{shown}\n"));
        text
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problem {
    /// One line: `file:line:column: message; advice`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}

impl Problem {
    fn group(&self) -> Group<'_> {
        let Excerpt { text, mark } = &self.excerpt;
        let mut elements: Vec<Element<'_>> = Vec::new();
        if text.is_empty() {
            elements.push(Origin::path(&*self.file).line(self.line).char_column(self.column).into());
        } else {
            let mark = AnnotationKind::Primary.span(mark.clone());
            let snippet = Snippet::source(&**text).path(&*self.file).line_start(self.line);
            elements.push(snippet.annotation(mark).into());
        }
        if let Some(advice) = &self.advice {
            elements.push(Level::HELP.message(&**advice).into());
        }
        Level::ERROR.primary_title(&*self.message).elements(elements)
    }
}

/// What is wrong, before its place is looked up.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) advice: Option<String>,
    /// Its line holds a secret, and is not shown.
    pub(crate) is_secret: bool,
}

/// Where something stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: usize,
    pub(crate) span: Range<usize>,
}

/// Gives each finding its line and column. `files` are name and text, by [`Place::file`].
pub(crate) fn locate(mut findings: Vec<Finding>, omitted: usize, files: &[(&str, &str)]) -> Problems {
    findings.sort_by_key(|f| (f.place.file, f.place.span.start, f.place.span.end));
    let mut starts: Option<(usize, Vec<usize>)> = None;
    let mut list: Vec<Problem> = Vec::with_capacity(findings.len());
    let mut hidden: HashSet<(String, usize)> = HashSet::new();
    for Finding { place, message, advice, is_secret } in findings {
        let (name, text) = files.get(place.file).copied().unwrap_or_default();
        if starts.as_ref().is_none_or(|(file, _)| *file != place.file) {
            starts = Some((place.file, line_starts(text)));
        }
        let lines = starts.as_ref().map_or(&[][..], |(_, lines)| lines);
        let start = floor(text, place.span.start);
        let end = floor(text, place.span.end).max(start);
        let line = lines.partition_point(|at| *at <= start).max(1);
        let from = lines.get(line - 1).copied().unwrap_or(0);
        let to = lines.get(line).copied().unwrap_or(text.len());
        let whole = text[from..to].trim_end_matches(['\n', '\r']);
        if is_secret {
            hidden.insert((name.to_owned(), line));
        }
        list.push(Problem {
            file: name.to_owned(),
            line,
            column: text[from..start].chars().count() + 1,
            span: start..end,
            message,
            advice,
            excerpt: excerpt(whole, start - from, end - from),
        });
    }
    for problem in &mut list {
        if hidden.contains(&(problem.file.clone(), problem.line)) {
            problem.excerpt = Excerpt::default();
        }
    }
    Problems { list, omitted }
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0)
        .chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1))
        .collect()
}

/// The last character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}

/// The line with its mark. The renderer shows what is around the mark; of a very long line it gets no more than
/// it can use, and nothing when the mark is too far out.
fn excerpt(line: &str, start: usize, end: usize) -> Excerpt {
    const EXCERPT_BYTES: usize = 4_096;
    let shown = &line[..floor(line, EXCERPT_BYTES.min(line.len()))];
    if start > shown.len() {
        return Excerpt::default();
    }
    Excerpt { text: shown.to_owned(), mark: start..end.clamp(start, shown.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str, span: Range<usize>) -> Problem {
        let finding = Finding {
            place: Place { file: 0, span },
            message: "is wrong".into(),
            advice: Some("right it".into()),
            is_secret: false,
        };
        locate(vec![finding], 0, &[("a.toml", text)]).list.remove(0)
    }

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "a = 1\r\nü = 2\r\nc = 3";
        let at = |needle: &str| {
            let start = text.find(needle).unwrap();
            let problem = one(text, start..start + needle.len());
            (problem.line, problem.column)
        };
        assert_eq!((at("a"), at("2"), at("3")), ((1, 1), (2, 5), (3, 5)));
        assert_eq!((one("", 0..0).line, one("", 5..9).column), (1, 1));
        assert_eq!(one("x\n", 2..2).line, 2);
    }

    #[test]
    fn rendering_shows_line_mark_and_advice() {
        let problem = one("a = 1\nbb = 22\n", 11..13);
        let text = Problems { list: vec![problem], omitted: 2 }.render(false);
        assert_eq!(
            text,
            "error: is wrong\n --> a.toml:2:6\n  |\n2 | bb = 22\n  |      ^^\n  |\n  = help: right it\n\n\
             3 problems; the first 1 are shown\n"
        );
    }

    #[test]
    fn long_lines_are_cut_and_escapes_are_not_passed_on() {
        for before in [500, 50_000] {
            let text = format!("k = \"{}\u{1b}[31mEND{}\"", "ä".repeat(before), "z".repeat(50_000));
            let start = text.find("END").unwrap();
            let rendered = Problems { list: vec![one(&text, start..start + 3)], omitted: 0 }.render(false);
            assert!(rendered.contains(&format!("a.toml:1:{}", before + 11)), "{rendered}");
            assert!(rendered.len() < 1000 && !rendered.contains('\u{1b}'), "{rendered}");
        }
    }

    #[test]
    fn a_line_with_a_secret_is_not_shown_by_any_problem() {
        let finding = |span, is_secret| Finding {
            place: Place { file: 0, span },
            message: "is wrong".into(),
            advice: None,
            is_secret,
        };
        let text = "a = 1\ntoken = \"hunter2\"\n";
        let problems = locate(
            vec![finding(6..11, false), finding(14..23, true), finding(0..1, false)],
            0,
            &[("x", text)],
        );
        let rendered = problems.render(false);
        assert!(!rendered.contains("hunter2") && rendered.contains("a = 1"), "{rendered}");
    }
}
