//! Rule `file-size` and rule `function-size`.

use super::Violation;
use super::lexer::{is_name_byte, line_of, words};
use super::source::{Source, Tree, body_start, closing};

/// Longest Rust file, in lines: beyond it a reader can no longer hold it.
pub(crate) const MAX_FILE_LINES: usize = 800;
/// Longest function outside tests, in lines from its `fn` to its closing brace.
pub(crate) const MAX_FUNCTION_LINES: usize = 70;

/// A function with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    /// As written, without its path.
    pub(crate) name: String,
    /// Where its `fn` stands, from the start of the text.
    pub(crate) offset: usize,
    /// From the line of `fn` to the line of the closing brace.
    pub(crate) lines: usize,
}

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    tree.sources.iter().flat_map(|source| file(source).into_iter().chain(long_functions(source))).collect()
}

fn file(source: &Source) -> Option<Violation> {
    let lines = source.text.lines().count();
    let message = format!("{lines} lines, at most {MAX_FILE_LINES}: split it where a reader would");
    (lines > MAX_FILE_LINES).then(|| Violation::new("file-size", &*source.path, message))
}

fn long_functions(source: &Source) -> impl Iterator<Item = Violation> {
    let long = |f: &Function| f.lines > MAX_FUNCTION_LINES && !source.is_test(f.offset);
    functions(&source.masked.code).into_iter().filter(long).map(|f| {
        let message = format!("fn {} has {} lines, at most {MAX_FUNCTION_LINES}", f.name, f.lines);
        Violation::new("function-size", source.place(f.offset), message)
    })
}

/// Every function with a body; one within another counts for both.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    words(code, "fn").filter_map(|offset| function(code, offset)).collect()
}

fn function(code: &str, offset: usize) -> Option<Function> {
    let behind = &code[offset + 2..];
    let start = offset + 2 + (behind.len() - behind.trim_start().len());
    // `fn(u8)` is a type; `fn $name` stands in a macro.
    let length = code[start..].bytes().take_while(|&b| is_name_byte(b) || b == b'$').count();
    let name = code[start..start + length].to_owned();
    let open = body_start(code, start).filter(|&at| length > 0 && code.as_bytes()[at] == b'{')?;
    let lines = line_of(code, closing(code, open)) - line_of(code, offset) + 1;
    Some(Function { name, offset, lines })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(name: &str, lines: usize) -> String {
        format!("fn {name}() {{\n{}}}\n", "    x();\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_is_counted_from_fn_to_brace() {
        let text = "/// doc\nfn one() -> [u8; 2] { [1, 2] }\ntrait T { fn two(&self); fn three() {\n \"}\"; \n} }\ntype F = fn(u8);";
        let masked = super::super::lexer::mask(text);
        let found: Vec<_> = functions(&masked.code).into_iter().map(|f| (f.name, f.lines)).collect();
        assert_eq!(found, [("one".to_owned(), 1), ("three".to_owned(), 3)]);
    }

    #[test]
    fn long_functions_and_files_are_named_with_their_place() {
        let text = format!("{}{}", long("fits", 70), long("grew", 71));
        let tree = Tree::of(&[("crates/a/src/x.rs", &text)]);
        let found = check(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].to_string(), {
            "crates/a/src/x.rs:71: fn grew has 71 lines, at most 70 [function-size]"
        });
        let tree =
            Tree::of(&[("crates/a/src/x.rs", &*"\n".repeat(800)), ("crates/a/src/y.rs", &*"\n".repeat(801))]);
        assert_eq!(check(&tree).iter().map(|v| &*v.place).collect::<Vec<_>>(), ["crates/a/src/y.rs"]);
    }

    #[test]
    fn tests_may_be_long_functions() {
        let text = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", long("story", 200));
        assert_eq!(check(&Tree::of(&[("crates/a/src/x.rs", &text)])), []);
        assert_eq!(check(&Tree::of(&[("crates/a/tests/x.rs", &long("story", 200))])), []);
    }
}
