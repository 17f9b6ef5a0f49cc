//! Parses a page: its code blocks, and the comments that control how they run.

use std::ops::Range;

/// A code block between two fences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Line number of its first fence, starting at 1.
    pub line: usize,
    /// The info string: `sql`, `sh`, `text`, ….
    pub kind: String,
    /// Lines of the code, as indices from 0, without the fences.
    pub lines: Range<usize>,
    /// Common prefix of its lines: a block in a list is indented.
    pub indent: usize,
    /// The code.
    pub code: String,
}

/// One step of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Runs a block, and compares its output with the `text` block that follows.
    Run {
        /// The block.
        block: Block,
        /// The server to run it on, such as `node-1`; the coordinator if not specified.
        on: Option<String>,
        /// The `text` block with its expected output.
        shown: Option<Block>,
        /// The parts of its output that differ each time.
        varies: Vec<String>,
    },
    /// Runs SQL that the page does not show.
    Hidden(String),
    /// Writes a block to a file.
    File(String, String),
    /// Stops a node.
    Stop(String),
    /// Restarts a node.
    Start(String),
    /// Starts a server outside of the cluster, with the host name used in the page and this database.
    Foreign(String, String),
    /// Skips a block, with the reason.
    Skip(String, usize),
    /// Skips the page's shell commands if Python with its libraries is unavailable.
    NeedsPython,
}

/// Comments that apply to the next block.
#[derive(Default)]
struct Marks {
    run: bool,
    skip: Option<String>,
    file: Option<String>,
    on: Option<String>,
    varies: Vec<String>,
}

/// Returns the steps of a page.
///
/// # Errors
/// Fails if a comment or a block is not understood.
pub fn steps(text: &str) -> Result<Vec<Step>, String> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut steps, mut marks, mut at) = (Vec::new(), Marks::default(), 0);
    // Whether the last step may be followed by its output: only blank lines and comments are between.
    let mut follows = false;
    while at < lines.len() {
        let line = lines[at].trim();
        if line.starts_with("<!--") {
            let end = (at..lines.len())
                .find(|end| lines[*end].contains("-->"))
                .ok_or(format!("line {}: the comment has no end", at + 1))?;
            let comment = lines[at..=end].join("\n");
            let comment = comment.trim().trim_start_matches("<!--").trim_end_matches("-->").trim();
            read_comment(comment, &mut marks, &mut steps)
                .map_err(|error| format!("line {}: {error}", at + 1))?;
            at = end + 1;
        } else if line.starts_with("```") {
            let block = read_block(&lines, at)?;
            at = block.lines.end + 1;
            follows = place(block, std::mem::take(&mut marks), follows, &mut steps)?;
        } else {
            follows &= line.is_empty();
            at += 1;
        }
    }
    Ok(steps)
}

fn read_block(lines: &[&str], at: usize) -> Result<Block, String> {
    let fence = lines[at];
    let indent = fence.len() - fence.trim_start().len();
    let end = (at + 1..lines.len())
        .find(|end| lines[*end].trim() == "```")
        .ok_or(format!("line {}: the block has no end", at + 1))?;
    let code: Vec<&str> =
        lines[at + 1..end].iter().map(|line| line.get(indent..).unwrap_or("")).collect();
    Ok(Block {
        line: at + 1,
        kind: fence.trim().trim_start_matches('`').to_owned(),
        lines: at + 1..end,
        indent,
        code: code.join("\n"),
    })
}

/// Adds a block to the steps; returns whether the next block may show its output.
fn place(block: Block, marks: Marks, follows: bool, steps: &mut Vec<Step>) -> Result<bool, String> {
    let runs = block.kind == "sql" || (block.kind == "sh" && marks.run);
    if block.kind == "text" && follows {
        let Some(Step::Run { shown, varies, .. }) = steps.last_mut() else {
            return Err(format!("line {}: output of nothing", block.line));
        };
        *varies = marks.varies;
        *shown = Some(block);
        return Ok(false);
    }
    if let Some(name) = marks.file {
        steps.push(Step::File(name, block.code));
        return Ok(false);
    }
    if let Some(reason) = marks.skip {
        steps.push(Step::Skip(reason, block.line));
        return Ok(false);
    }
    if runs {
        steps.push(Step::Run { block, on: marks.on, shown: None, varies: marks.varies });
        return Ok(true);
    }
    if block.kind == "sh" {
        let why = "say <!-- run -->, or <!-- not run: REASON -->";
        return Err(format!(
            "line {}: nothing tells whether these commands run: {why}",
            block.line
        ));
    }
    if block.kind.starts_with("sql") {
        return Err(format!("line {}: unknown kind of block \"{}\"", block.line, block.kind));
    }
    Ok(false)
}

fn read_comment(comment: &str, marks: &mut Marks, steps: &mut Vec<Step>) -> Result<(), String> {
    let (word, rest) = comment.split_once(':').unwrap_or((comment, ""));
    let rest = rest.trim().to_owned();
    match word {
        "run" => marks.run = true,
        "not run" if !rest.is_empty() => marks.skip = Some(rest),
        "file" => marks.file = Some(rest),
        "on" => marks.on = Some(rest),
        "varies" => marks.varies = rest.split(", ").map(str::to_owned).collect(),
        "sql" => steps.push(Step::Hidden(rest)),
        "stop" => steps.push(Step::Stop(rest)),
        "start" => steps.push(Step::Start(rest)),
        "needs" if rest == "python" => steps.push(Step::NeedsPython),
        "foreign server" => {
            let (host, database) = rest.split_once(' ').ok_or("host and database, please")?;
            steps.push(Step::Foreign(host.to_owned(), database.to_owned()));
        }
        "note" => {}
        _ => return Err(format!("unknown comment \"{word}\"")),
    }
    Ok(())
}

#[test]
fn blocks_and_comments_are_read() {
    let page = "a\n```sql\nSELECT 1;\n```\n\n<!-- varies: time -->\n```text\none\n```\n\
                1. list\n   <!-- not run: no server -->\n   ```sh\n   x\n   ```\n<!-- sql: SELECT\n2; -->\n";
    let steps = steps(page).unwrap();
    assert_eq!(steps.len(), 3, "{steps:?}");
    let Step::Run { block, shown: Some(shown), varies, on: None } = &steps[0] else {
        panic!("{steps:?}")
    };
    assert_eq!((block.line, block.code.as_str()), (2, "SELECT 1;"));
    assert_eq!((shown.code.as_str(), shown.lines.clone()), ("one", 7..8));
    assert_eq!(varies, &["time"]);
    assert_eq!(steps[1], Step::Skip("no server".into(), 12));
    assert_eq!(steps[2], Step::Hidden("SELECT\n2;".into()));
}

#[test]
fn what_says_nothing_is_refused() {
    for (page, words) in [
        ("```sh\nx\n```\n", "nothing tells"),
        ("```sql\nx\n", "has no end"),
        ("<!-- vary: time -->\n", "unknown comment"),
        ("```sql example\nx\n```\n", "unknown kind"),
        ("<!-- not run: -->\n```sql\nx\n```\n", "unknown comment"),
    ] {
        let error = steps(page).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(
        steps("```sql\nx\n```\ntext between\n```text\nnot its output\n```\n").unwrap().len(),
        1
    );
}
