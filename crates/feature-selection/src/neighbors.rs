//! Estimates of mutual information from the distances of nearest neighbours.

/// The digamma function at whole numbers.
pub(crate) struct Digamma(Vec<f64>);

impl Digamma {
    /// For numbers from 1 to `n`.
    pub(crate) fn up_to(n: usize) -> Self {
        const EULER: f64 = 0.577_215_664_901_532_9;
        let mut harmonic = 0.0;
        let at = |m: usize| {
            if m > 32 {
                return asymptotic(m as f64);
            }
            if m > 1 {
                harmonic += 1.0 / (m - 1) as f64;
            }
            harmonic - EULER
        };
        // Nothing asks for 0.
        Self(std::iter::once(f64::NAN).chain((1..=n).map(at)).collect())
    }

    fn of(&self, n: usize) -> f64 {
        self.0[n]
    }
}

/// Abramowitz and Stegun 6.3.18.
fn asymptotic(x: f64) -> f64 {
    let square = (x * x).recip();
    x.ln() - 0.5 / x - square * (1.0 / 12.0 - square * (1.0 / 120.0 - square * (1.0 / 252.0 - square / 240.0)))
}

/// Numbers in their order, and the row of each.
pub(crate) struct Sorted {
    pub(crate) values: Vec<f64>,
    pub(crate) rows: Vec<u32>,
}

impl Sorted {
    pub(crate) fn new(values: &[f64]) -> Self {
        let mut pairs: Vec<(f64, u32)> = values.iter().copied().zip(0..).collect();
        pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (values, rows) = pairs.into_iter().unzip();
        Self { values, rows }
    }

    /// Only the rows that `stays` says.
    fn filter(&self, stays: impl Fn(usize) -> bool) -> Self {
        let pairs = self.values.iter().zip(&self.rows).filter(|(_, row)| stays(**row as usize));
        let (values, rows) = pairs.map(|(value, row)| (*value, *row)).unzip();
        Self { values, rows }
    }

    /// How many values, itself included, are at most `radius` from the one at a place.
    fn within(&self, place: usize, radius: f64) -> usize {
        let (values, value) = (&self.values, self.values[place]);
        let above = reach(values.len() - 1 - place, |steps| values[place + steps] - value <= radius);
        let below = reach(place, |steps| value - values[place - steps] <= radius);
        above + below + 1
    }
}

/// How many steps of at most `limit` are within, where every step after one that is not is not either. Looks near the start first.
fn reach(limit: usize, within: impl Fn(usize) -> bool) -> usize {
    let (mut near, mut stride) = (0, 1);
    while near + stride <= limit && within(near + stride) {
        near += stride;
        stride *= 2;
    }
    let mut far = (near + stride).min(limit + 1);
    while near + 1 < far {
        let middle = near + (far - near) / 2;
        if within(middle) {
            near = middle;
        } else {
            far = middle;
        }
    }
    near
}

/// Mutual information, in nats, of a continuous variable and one of few values (Ross 2014): scikit-learn's `_compute_mi_cd`.
/// Values that only one row has are left out.
pub(crate) fn ross(continuous: &Sorted, codes: &[u32], n_codes: usize, neighbors: usize, digamma: &Digamma) -> f64 {
    let mut counts = vec![0; n_codes];
    codes.iter().for_each(|&code| counts[code as usize] += 1);
    let sorted = continuous.filter(|row| counts[codes[row] as usize] > 1);
    // The places of each code's rows, in the order of the continuous variable.
    let mut places: Vec<Vec<usize>> = counts.iter().map(|&count| Vec::with_capacity(count)).collect();
    for (place, &row) in sorted.rows.iter().enumerate() {
        places[codes[row as usize] as usize].push(place);
    }
    let (mut total, n_rows) = (0.0, sorted.rows.len());
    for places in places.iter().filter(|places| places.len() > 1) {
        let k = neighbors.min(places.len() - 1);
        let values: Vec<f64> = places.iter().map(|&place| sorted.values[place]).collect();
        let near = |(&place, radius): (&usize, f64)| digamma.of(sorted.within(place, radius));
        total += places.len() as f64 * (digamma.of(k) - digamma.of(places.len()));
        total -= places.iter().zip(radii(&values, k)).map(near).sum::<f64>();
    }
    if n_rows == 0 { 0.0 } else { (digamma.of(n_rows) + total / n_rows as f64).max(0.0) }
}

/// Just less than the distance of each value's `k`-th neighbour; the values are in their order and more than `k`.
fn radii(values: &[f64], k: usize) -> Vec<f64> {
    let mut start = 0;
    let radius = |at: usize| {
        let value = values[at];
        // The neighbours are among k + 1 values in a row, which move on with the value.
        while start < at && start + k + 1 < values.len() && values[start + k + 1] - value < value - values[start] {
            start += 1;
        }
        just_less((value - values[start]).max(values[start + k] - value))
    };
    (0..values.len()).map(radius).collect()
}

fn just_less(distance: f64) -> f64 {
    if distance > 0.0 { distance.next_down() } else { 0.0 }
}

/// Mutual information, in nats, of two continuous variables (Kraskov et al. 2004): scikit-learn's `_compute_mi_cc`.
pub(crate) fn kraskov(
    x: &[f64],
    x_sorted: &Sorted,
    y: &[f64],
    y_sorted: &Sorted,
    neighbors: usize,
    digamma: &Digamma,
) -> f64 {
    let n_rows = x.len();
    let k = neighbors.min(n_rows - 1);
    let radii = Plane::new(x, y).radii(k);
    let mean = |sorted: &Sorted| {
        let near = |(place, &row): (usize, &u32)| digamma.of(sorted.within(place, radii[row as usize]));
        sorted.rows.iter().enumerate().map(near).sum::<f64>() / n_rows as f64
    };
    (digamma.of(n_rows) + digamma.of(k) - mean(x_sorted) - mean(y_sorted)).max(0.0)
}

/// Points of a leaf of the tree.
const LEAF: usize = 12;

/// Points in a plane, in a tree of boxes. Node `i` halves its points between the nodes `2 i + 1` and `2 i + 2`.
struct Plane {
    points: Vec<[f64; 2]>,
    rows: Vec<usize>,
    boxes: Vec<Bounds>,
}

/// Least and greatest coordinates.
#[derive(Clone, Copy)]
struct Bounds {
    least: [f64; 2],
    greatest: [f64; 2],
}

impl Bounds {
    const NOTHING: Self = Self { least: [f64::INFINITY; 2], greatest: [f64::NEG_INFINITY; 2] };

    fn of(points: &[([f64; 2], usize)]) -> Self {
        points.iter().fold(Self::NOTHING, |bounds, (point, _)| Self {
            least: [bounds.least[0].min(point[0]), bounds.least[1].min(point[1])],
            greatest: [bounds.greatest[0].max(point[0]), bounds.greatest[1].max(point[1])],
        })
    }

    /// The longer side.
    fn axis(&self) -> usize {
        usize::from(self.greatest[1] - self.least[1] > self.greatest[0] - self.least[0])
    }

    /// The distance of a point, 0 within.
    fn distance(&self, point: [f64; 2]) -> f64 {
        let along = |axis: usize| (self.least[axis] - point[axis]).max(point[axis] - self.greatest[axis]);
        along(0).max(along(1)).max(0.0)
    }
}

impl Plane {
    fn new(x: &[f64], y: &[f64]) -> Self {
        let mut points: Vec<([f64; 2], usize)> = x.iter().zip(y).map(|(&x, &y)| [x, y]).zip(0..).collect();
        let mut boxes = Vec::new();
        halve(&mut points, 0, &mut boxes);
        let (points, rows) = points.into_iter().unzip();
        Self { points, rows, boxes }
    }

    /// Just less than the distance, the greater of the two coordinates', of each row's `k`-th neighbour.
    fn radii(&self, k: usize) -> Vec<f64> {
        let mut radii = vec![0.0; self.rows.len()];
        let mut nearest = Nearest { distances: vec![0.0; k] };
        for (at, &row) in self.rows.iter().enumerate() {
            nearest.distances.fill(f64::INFINITY);
            self.search(0, 0, self.points.len(), at, &mut nearest);
            radii[row] = just_less(nearest.farthest());
        }
        radii
    }

    /// Looks for neighbours of the point `at` among those from `start` to `end`, which are the node's.
    fn search(&self, node: usize, start: usize, end: usize, at: usize, nearest: &mut Nearest) {
        let point = self.points[at];
        if end - start <= LEAF {
            let others = self.points[start..end].iter().zip(start..).filter(|(_, other)| *other != at);
            others.for_each(|(other, _)| nearest.offer((point[0] - other[0]).abs().max((point[1] - other[1]).abs())));
            return;
        }
        let middle = start + (end - start) / 2;
        let (left, right) = (2 * node + 1, 2 * node + 2);
        let distances = [self.boxes[left].distance(point), self.boxes[right].distance(point)];
        let mut halves = [(distances[0], left, start, middle), (distances[1], right, middle, end)];
        if distances[1] < distances[0] || (distances[1] == distances[0] && at >= middle) {
            halves.swap(0, 1);
        }
        for (distance, node, start, end) in halves {
            if distance < nearest.farthest() {
                self.search(node, start, end, at, nearest);
            }
        }
    }
}

/// Orders points so that each node's halves lie on two sides along its longer side.
fn halve(points: &mut [([f64; 2], usize)], node: usize, boxes: &mut Vec<Bounds>) {
    let bounds = Bounds::of(points);
    if boxes.len() <= node {
        boxes.resize(node + 1, Bounds::NOTHING);
    }
    boxes[node] = bounds;
    if points.len() <= LEAF {
        return;
    }
    let (axis, middle) = (bounds.axis(), points.len() / 2);
    points.select_nth_unstable_by(middle, |(a, _), (b, _)| a[axis].total_cmp(&b[axis]));
    let (left, right) = points.split_at_mut(middle);
    halve(left, 2 * node + 1, boxes);
    halve(right, 2 * node + 2, boxes);
}

/// The least distances seen, in their order.
struct Nearest {
    distances: Vec<f64>,
}

impl Nearest {
    fn farthest(&self) -> f64 {
        self.distances.last().copied().unwrap_or(0.0)
    }

    fn offer(&mut self, distance: f64) {
        if distance >= self.farthest() {
            return;
        }
        let mut at = self.distances.len() - 1;
        while at > 0 && self.distances[at - 1] > distance {
            self.distances[at] = self.distances[at - 1];
            at -= 1;
        }
        self.distances[at] = distance;
    }
}
