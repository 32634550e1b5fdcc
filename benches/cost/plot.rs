//! Plot: how long a client waits while everybody else expires, a curve for each way of evicting them.

use crate::clock::MS;
use crate::storm::Storm;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 54.0;
const BOTTOM: f64 = 50.0;
/// Before and after the order, in ms.
const FROM_MS: f64 = -200.0;
const UNTIL_MS: f64 = 1_200.0;
/// The longest wait of so many ms is one point.
const STEP_MS: f64 = 10.0;
/// From 0.1 ms to 1 s.
const DECADES: f64 = 4.0;
const LEAST_MS: f64 = 0.1;
const COLOURS: [(&str, &str); 3] = [
    ("rate 0", "#1a7f37"),
    ("CLIENT KILL MAXAGE", "#cf222e"),
    ("script", "#9a6700"),
];

fn x(ms: f64) -> f64 {
    LEFT + (ms - FROM_MS) / (UNTIL_MS - FROM_MS) * (WIDTH - LEFT - RIGHT)
}

/// Logarithmic.
fn y(ms: f64) -> f64 {
    let decades = (ms.max(LEAST_MS) / LEAST_MS).log10();
    HEIGHT - BOTTOM - (decades / DECADES).min(1.0) * (HEIGHT - TOP - BOTTOM)
}

/// Where each wait began, relative to the order, and how long it was at most in each step.
fn points(storm: &Storm) -> String {
    let mut text = String::new();
    let steps = ((UNTIL_MS - FROM_MS) / STEP_MS) as usize;
    let mut longest = vec![0.0_f64; steps];
    for sample in &storm.samples {
        let at = (sample.due as f64 - storm.began as f64) / MS as f64;
        let step = ((at - FROM_MS) / STEP_MS).floor();
        if let Some(most) = longest.get_mut(step as usize).filter(|_| step >= 0.0) {
            *most = most.max(sample.wait as f64 / MS as f64);
        }
    }
    for (step, most) in longest.iter().enumerate().filter(|(_, most)| **most > 0.0) {
        let at = FROM_MS + (step as f64 + 0.5) * STEP_MS;
        let _ = write!(text, "{:.0},{:.1} ", x(at), y(*most));
    }
    text.trim_end().to_string()
}

fn grid(svg: &mut String) {
    for (ms, label) in [
        (0.1, "0.1 ms"),
        (1.0, "1 ms"),
        (10.0, "10 ms"),
        (100.0, "100 ms"),
        (1_000.0, "1 s"),
    ] {
        let (at, end, text) = (y(ms), WIDTH - RIGHT, LEFT - 8.0);
        let _ = writeln!(
            svg,
            "<path class=\"g\" d=\"M{LEFT} {at:.0}H{end}\"/><text x=\"{text}\" y=\"{:.0}\" text-anchor=\"end\">{label}</text>",
            at + 4.0
        );
    }
    for ms in (0..=1_200).step_by(200) {
        let (at, foot) = (x(f64::from(ms)), HEIGHT - BOTTOM);
        let _ = writeln!(
            svg,
            "<path class=\"g\" d=\"M{at:.0} {TOP}V{foot}\"/><text x=\"{at:.0}\" y=\"{}\" text-anchor=\"middle\">{ms} ms</text>",
            foot + 18.0
        );
    }
}

/// The picture, as SVG.
pub fn waits(many: usize, storms: &[(&str, Storm)]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<style>text{{fill:#24292f}}.g{{stroke:#d0d7de;fill:none}}\
         polyline{{fill:none;stroke-width:1.6}}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"15\">How long another client waits while {many} connections \
         expire at once</text>\n"
    );
    grid(&mut svg);
    let mut legend = LEFT;
    for (name, colour) in COLOURS {
        let Some((_, storm)) = storms.iter().find(|(way, _)| *way == name) else {
            continue;
        };
        let label = match name {
            "rate 0" => "connage, rate 0",
            "script" => "CLIENT LIST and CLIENT KILL ID from a script",
            other => other,
        };
        let _ = writeln!(
            svg,
            "<polyline stroke=\"{colour}\" points=\"{}\"/>\n<path stroke=\"{colour}\" stroke-width=\"3\" \
             d=\"M{legend} 38h16\"/><text x=\"{}\" y=\"42\">{label}</text>",
            points(storm),
            legend + 22.0
        );
        legend += 40.0 + 6.6 * label.len() as f64;
    }
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">time at which a PING was due, from the order to evict \
         (one is due each ms; the longest wait of each {STEP_MS} ms)</text>\n</svg>\n",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 12.0
    );
    svg
}
