//! Temporary loops.
pub(crate) struct Shape {
    pub(crate) batch: usize,
    pub(crate) heads: usize,
    pub(crate) q_len: usize,
    pub(crate) k_len: usize,
    pub(crate) head_dim: usize,
    pub(crate) live: usize,
}
pub(crate) enum Mask<'a> {
    Full,
    Padding(&'a [bool]),
    Pairwise(&'a [bool]),
}
pub(crate) struct Dropout {
    pub(crate) prob: f32,
    pub(crate) seed: u64,
}
pub(crate) struct Inputs<'a> {
    pub(crate) shape: Shape,
    pub(crate) query: &'a [f32],
    pub(crate) key: &'a [f32],
    pub(crate) value: &'a [f32],
    pub(crate) pos_key: Option<&'a [f32]>,
    pub(crate) pos_query: Option<&'a [f32]>,
    pub(crate) slot_of_distance: &'a [u32],
    pub(crate) query_positions: Option<&'a [i32]>,
    pub(crate) mask: Mask<'a>,
    pub(crate) blind_padded_queries: bool,
    pub(crate) scale: f32,
    pub(crate) dropout: Option<Dropout>,
}
pub(crate) struct Gradients {
    pub(crate) query: Vec<f32>,
    pub(crate) key: Vec<f32>,
    pub(crate) value: Vec<f32>,
    pub(crate) pos_key: Option<Vec<f32>>,
    pub(crate) pos_query: Option<Vec<f32>>,
}
struct Row {
    p: Vec<f32>,
    keep: Vec<f32>,
    slots: Vec<usize>,
    lse: f32,
}
fn row(a: &Inputs<'_>, b: usize, h: usize, i: usize) -> Row {
    let s = &a.shape;
    let w = s.heads * s.head_dim;
    let d = s.head_dim;
    let pos = a
        .query_positions
        .map_or(i as i64, |p| p[b * s.q_len + i] as i64);
    let q = &a.query[(b * s.q_len + i) * w + h * d..][..d];
    let blind = matches!(&a.mask, Mask::Padding(m) if a.blind_padded_queries && m[b * s.k_len + i]);
    let mut sc = vec![f32::NEG_INFINITY; s.k_len];
    let mut slots = vec![0; s.k_len];
    for j in 0..s.k_len {
        let blocked = blind
            || match &a.mask {
                Mask::Full => false,
                Mask::Padding(m) => m[b * s.k_len + j],
                Mask::Pairwise(m) => m[(b * s.q_len + i) * s.k_len + j],
            };
        let k = &a.key[(b * s.k_len + j) * w + h * d..][..d];
        let mut x: f32 = q.iter().zip(k).map(|(q, k)| q * k).sum();
        if a.pos_key.is_some() || a.pos_query.is_some() {
            slots[j] = a.slot_of_distance[(pos - j as i64 + s.k_len as i64 - 1) as usize] as usize;
        }
        if let Some(pk) = a.pos_key {
            x += q
                .iter()
                .zip(&pk[slots[j] * w + h * d..])
                .map(|(q, k)| q * k)
                .sum::<f32>();
        }
        if let Some(pq) = a.pos_query {
            x += k
                .iter()
                .zip(&pq[slots[j] * w + h * d..])
                .map(|(q, k)| q * k)
                .sum::<f32>();
        }
        if !blocked {
            sc[j] = x * a.scale;
        }
    }
    let m = sc.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (p, lse) = if m == f32::NEG_INFINITY {
        (vec![0.0; s.k_len], 0.0)
    } else {
        let e: Vec<f32> = sc.iter().map(|x| (x - m).exp()).collect();
        let t: f32 = e.iter().sum();
        (e.iter().map(|x| x / t).collect(), m + t.ln())
    };
    let keep = (0..s.k_len)
        .map(|j| match &a.dropout {
            None => 1.0,
            Some(dr) => {
                let idx = ((b * s.heads + h) * s.q_len + i) * s.k_len + j;
                if super::math::random_u32(dr.seed, idx as u64)
                    < super::math::drop_threshold(f64::from(dr.prob))
                {
                    0.0
                } else {
                    1.0 / (1.0 - dr.prob)
                }
            }
        })
        .collect();
    Row {
        p,
        keep,
        slots,
        lse,
    }
}
pub(crate) fn forward(a: &Inputs<'_>) -> (Vec<f32>, Vec<f32>) {
    let s = &a.shape;
    let w = s.heads * s.head_dim;
    let d = s.head_dim;
    let _ = s.live;
    let mut out = vec![0.0; s.batch * s.q_len * w];
    let mut lse = vec![0.0; s.batch * s.heads * s.q_len];
    for b in 0..s.batch {
        for h in 0..s.heads {
            for i in 0..s.q_len {
                let r = row(a, b, h, i);
                lse[(b * s.heads + h) * s.q_len + i] = r.lse;
                for j in 0..s.k_len {
                    for x in 0..d {
                        out[(b * s.q_len + i) * w + h * d + x] +=
                            r.p[j] * r.keep[j] * a.value[(b * s.k_len + j) * w + h * d + x];
                    }
                }
            }
        }
    }
    (out, lse)
}
pub(crate) fn backward(a: &Inputs<'_>, _out: &[f32], _lse: &[f32], d_out: &[f32]) -> Gradients {
    let s = &a.shape;
    let w = s.heads * s.head_dim;
    let d = s.head_dim;
    let mut g = Gradients {
        query: vec![0.0; a.query.len()],
        key: vec![0.0; a.key.len()],
        value: vec![0.0; a.value.len()],
        pos_key: a.pos_key.map(|x| vec![0.0; x.len()]),
        pos_query: a.pos_query.map(|x| vec![0.0; x.len()]),
    };
    for b in 0..s.batch {
        for h in 0..s.heads {
            for i in 0..s.q_len {
                let r = row(a, b, h, i);
                let qo = (b * s.q_len + i) * w + h * d;
                let dp: Vec<f32> = (0..s.k_len)
                    .map(|j| {
                        let ko = (b * s.k_len + j) * w + h * d;
                        r.keep[j] * (0..d).map(|x| d_out[qo + x] * a.value[ko + x]).sum::<f32>()
                    })
                    .collect();
                let dot: f32 = dp.iter().zip(&r.p).map(|(x, y)| x * y).sum();
                for j in 0..s.k_len {
                    let ko = (b * s.k_len + j) * w + h * d;
                    let po = r.slots[j] * w + h * d;
                    let ds = r.p[j] * (dp[j] - dot) * a.scale;
                    for x in 0..d {
                        g.value[ko + x] += r.p[j] * r.keep[j] * d_out[qo + x];
                        g.query[qo + x] += ds * a.key[ko + x];
                        g.key[ko + x] += ds * a.query[qo + x];
                        if let (Some(pk), Some(gp)) = (a.pos_key, g.pos_key.as_mut()) {
                            g.query[qo + x] += ds * pk[po + x];
                            gp[po + x] += ds * a.query[qo + x];
                        }
                        if let (Some(pq), Some(gp)) = (a.pos_query, g.pos_query.as_mut()) {
                            g.key[ko + x] += ds * pq[po + x];
                            gp[po + x] += ds * a.key[ko + x];
                        }
                    }
                }
            }
        }
    }
    g
}
