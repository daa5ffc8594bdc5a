//! The figure of a row as horizontal bars: an SVG that reads in light and dark.

use std::fmt::Write;

const WIDTH: usize = 640;
const LABELS: usize = 190;
const BAR: usize = 26;
const GAP: usize = 12;
const TOP: usize = 44;

/// One bar.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    /// Drawn in the colour of the house.
    pub(super) ours: bool,
}

/// Draws the bars in the order given, shorter being better.
pub(super) fn svg(title: &str, bars: &[Bar]) -> String {
    let height = TOP + bars.len() * (BAR + GAP) + GAP;
    let most = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    // Room behind the longest bar for its figure.
    let room = (WIDTH - LABELS - 90) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>{title}</title>\n\
         <style>text{{font:14px sans-serif;fill:#222}}.title{{font-weight:bold}}.ours{{fill:#0a7d6b}}.peer{{fill:#9aa5b1}}\
         @media(prefers-color-scheme:dark){{text{{fill:#ddd}}.ours{{fill:#2fc4ab}}.peer{{fill:#66717d}}}}</style>\n\
         <text class=\"title\" x=\"{GAP}\" y=\"26\">{title}</text>\n",
        title = escape(title)
    );
    for (index, bar) in bars.iter().enumerate() {
        let y = TOP + index * (BAR + GAP);
        let length = (bar.value / most * room).max(1.0);
        let class = if bar.ours { "ours" } else { "peer" };
        let text_y = y + BAR * 7 / 10;
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{text_y}\" text-anchor=\"end\">{}</text>\n\
             <rect class=\"{class}\" x=\"{LABELS}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"3\"/>\n\
             <text x=\"{:.1}\" y=\"{text_y}\">{:.2}</text>\n",
            LABELS - 8,
            escape(&bar.label),
            LABELS as f64 + length + 8.0,
            bar.value,
        );
    }
    svg + "</svg>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_inside() {
        let bar = |label: &str, value, ours| Bar { label: label.to_owned(), value, ours };
        let svg = svg("CPU <µs>", &[bar("evenkeel", 5.0, true), bar("a&b", 10.0, false)]);
        let widths: Vec<&str> =
            svg.split("width=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(widths, ["180.0", "360.0"]);
        assert!(svg.contains("class=\"ours\"") && svg.contains("a&amp;b") && svg.contains("CPU &lt;µs&gt;"));
        assert!(svg.ends_with("</svg>\n"));
    }

    #[test]
    fn nothing_to_draw_is_no_error() {
        assert!(svg("empty", &[]).contains("<title>empty</title>"));
    }
}
