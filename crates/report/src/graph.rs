//! A pipeline's graph as SVG, from the top to the bottom, so that it fits a phone.

use maud::{Markup, html};

use crate::plot::{clipped, svg_of};

/// Sizes in units of the drawing.
const WIDTH: f64 = 216.0;
const HEIGHT: f64 = 54.0;
const GAP: f64 = 22.0;
const BETWEEN: f64 = 34.0;
const MARGIN: f64 = 6.0;

/// Something that a pipeline does.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// What it is called.
    pub name: String,
    /// What kind of work it is, and what came of it: the second line.
    pub note: String,
    /// `cached`, `done`, `failed`, or nothing where it did not run.
    pub state: String,
    /// The places of the nodes that it needs.
    pub needs: Vec<usize>,
}

/// Draws nodes, each after those that it needs. An edge that a path of other edges implies is left out.
pub fn draw(title: &str, nodes: &[Node]) -> Markup {
    let layers = layers(nodes);
    let n_layers = layers.iter().map(|layer| layer + 1).max().unwrap_or_default();
    let rows = ordered(nodes, &layers, n_layers);
    let widest = rows.iter().map(Vec::len).max().unwrap_or_default().max(1);
    let width = widest as f64 * (WIDTH + GAP) - GAP + 2.0 * MARGIN;
    let height = n_layers as f64 * (HEIGHT + BETWEEN) - BETWEEN + 2.0 * MARGIN;
    let mut corner = vec![(0.0, 0.0); nodes.len()];
    for (layer, row) in rows.iter().enumerate() {
        let left = (width - (row.len() as f64 * (WIDTH + GAP) - GAP)) / 2.0;
        for (place, &node) in row.iter().enumerate() {
            corner[node] = (left + place as f64 * (WIDTH + GAP), MARGIN + layer as f64 * (HEIGHT + BETWEEN));
        }
    }
    let edges = edges(nodes).into_iter().map(|(from, to)| {
        let (x1, y1) = (corner[from].0 + WIDTH / 2.0, corner[from].1 + HEIGHT);
        let (x2, y2) = (corner[to].0 + WIDTH / 2.0, corner[to].1 - 5.0);
        let bend = (y2 - y1).max(BETWEEN) * 0.45;
        format!("M{x1:.1} {y1:.1}C{x1:.1} {:.1} {x2:.1} {:.1} {x2:.1} {y2:.1}", y1 + bend, y2 - bend)
    });
    let colour = |state: &str| match state {
        "cached" => "var(--muted, #667085)",
        "done" => "var(--good, #0a6b43)",
        "failed" => "var(--bad, #a8201a)",
        _ => "var(--line, #d5dbe3)",
    };
    svg_of(
        title,
        (width, height),
        "graph",
        html! {
            @for path in edges {
                path d=(path) fill="none" stroke="var(--muted, #667085)" stroke-width="1.4" {}
                @if let Some((x, y)) = arrow(&path) { path d=(format!("M{:.1} {:.1}l4 -7h-8z", x, y + 5.0)) fill="var(--muted, #667085)" {} }
            }
            @for (node, (x, y)) in nodes.iter().zip(&corner) {
                g {
                    title { (node.name) @if !node.note.is_empty() { ": " (node.note) } }
                    rect x=(x) y=(y) width=(WIDTH) height=(HEIGHT) rx="9" fill="var(--sunken, #f1f3f6)" stroke="var(--line, #d5dbe3)" {}
                    rect x=(x) y=(y + 10.0) width="4" height=(HEIGHT - 20.0) rx="2" fill=(colour(&node.state)) {}
                    text x=(x + 15.0) y=(y + 23.0) font-size="14" font-weight="600" fill="var(--ink, #16202c)" { (clipped(&node.name, 24)) }
                    text x=(x + 15.0) y=(y + 41.0) font-size="12" fill="var(--muted, #536072)" { (clipped(&node.note, 33)) }
                }
            }
        },
    )
}

/// The same as a file of its own.
pub fn file(title: &str, nodes: &[Node]) -> String {
    let drawn = draw(title, nodes).into_string();
    // Outside of the page nothing gives it a font or a ground.
    let styled = "<svg font-family=\"system-ui, sans-serif\" style=\"background: #ffffff\"";
    format!("{}\n", drawn.replacen("<svg", styled, 1))
}

/// Where a path ends.
fn arrow(path: &str) -> Option<(f64, f64)> {
    let mut numbers = path.rsplit(' ');
    let (y, x) = (numbers.next()?, numbers.next()?);
    Some((x.parse().ok()?, y.parse().ok()?))
}

/// For each node how many edges the longest path to it has.
fn layers(nodes: &[Node]) -> Vec<usize> {
    let mut layers: Vec<usize> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let above = node.needs.iter().filter_map(|&need| layers.get(need)).max();
        layers.push(above.map_or(0, |above| above + 1));
    }
    layers
}

/// The nodes of each layer, those beside each other whose needs are.
fn ordered(nodes: &[Node], layers: &[usize], n_layers: usize) -> Vec<Vec<usize>> {
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); n_layers];
    for (node, &layer) in layers.iter().enumerate() {
        rows[layer].push(node);
    }
    let mut place = vec![0.0; nodes.len()];
    for row in &mut rows {
        let centre = |node: &usize| {
            let needs = &nodes[*node].needs;
            needs.iter().map(|&need| place.get(need).copied().unwrap_or_default()).sum::<f64>()
                / needs.len().max(1) as f64
        };
        row.sort_by(|a, b| centre(a).total_cmp(&centre(b)));
        let middle = (row.len() as f64 - 1.0) / 2.0;
        for (at, &node) in row.iter().enumerate() {
            place[node] = at as f64 - middle;
        }
    }
    rows
}

/// The edges that no longer path stands for.
fn edges(nodes: &[Node]) -> Vec<(usize, usize)> {
    let reaches = |from: usize, to: usize| {
        let (mut open, mut seen) = (vec![to], vec![false; nodes.len()]);
        while let Some(node) = open.pop() {
            for &need in nodes.get(node).map_or(&[][..], |node| &node.needs) {
                if need == from {
                    return true;
                }
                if seen.get(need) == Some(&false) {
                    seen[need] = true;
                    open.push(need);
                }
            }
        }
        false
    };
    let mut edges = Vec::new();
    for (to, node) in nodes.iter().enumerate() {
        for &from in &node.needs {
            if from < to && !node.needs.iter().any(|&other| other != from && reaches(from, other)) {
                edges.push((from, to));
            }
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, needs: &[usize]) -> Node {
        Node { name: name.to_owned(), needs: needs.to_vec(), ..Node::default() }
    }

    #[test]
    fn nodes_lie_below_what_they_need_and_edges_are_drawn_once() {
        let nodes = [
            node("data", &[]),
            node("a", &[0]),
            node("b", &[0]),
            node("model", &[1, 2, 0]),
            node("evaluate", &[0, 3, 1]),
        ];
        assert_eq!(layers(&nodes), [0, 1, 1, 2, 3]);
        assert_eq!(edges(&nodes), [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)]);
        assert_eq!(ordered(&nodes, &layers(&nodes), 4), [vec![0], vec![1, 2], vec![3], vec![4]]);
    }

    #[test]
    fn a_name_is_text_and_never_markup() {
        let svg = file("p", &[node("</text><script>", &[])]);
        assert!(
            !svg.contains("<script>") && svg.contains("&lt;script&gt;") && svg.starts_with("<svg font-family"),
            "{svg}"
        );
    }
}
