//! Intervals that cover as often as they say, by what the backtest saw.

/// How many deviations an interval must reach to either side to cover with probability `level`.
///
/// `scores` are the held-out errors in units of the deviations that the model gave for them. The factor is their
/// quantile: split conformal prediction with normalised scores (Lei, G'Sell, Rinaldo, Tibshirani and Wasserman,
/// "Distribution-free predictive inference for regression", JASA 113 (2018), section 5.2). The scores of one fold
/// depend on each other, so the coverage is approximate; with fewer scores than the level needs, the factor is
/// never below the normal distribution's.
pub(super) fn factor(mut scores: Vec<f64>, level: f64) -> f64 {
    let normal = distrs::Normal::ppf(0.5 + level / 2.0, 0.0, 1.0);
    let rank = ((scores.len() + 1) as f64 * level).ceil() as usize;
    if rank > scores.len() {
        return scores.into_iter().fold(normal, f64::max);
    }
    let (_, quantile, _) = scores.select_nth_unstable_by(rank.max(1) - 1, f64::total_cmp);
    *quantile
}

/// The share of held-out values that intervals cover when each fold's factor comes from the other folds alone.
///
/// `folds` holds the scores of each fold. Nothing with fewer than two folds.
pub(super) fn coverage(folds: &[Vec<f64>], level: f64) -> Option<f64> {
    if folds.len() < 2 {
        return None;
    }
    let (mut covered, mut all) = (0, 0);
    for (index, fold) in folds.iter().enumerate() {
        let others = folds.iter().enumerate().filter(|&(other, _)| other != index);
        let factor = factor(others.flat_map(|(_, scores)| scores.iter().copied()).collect(), level);
        covered += fold.iter().filter(|&&score| score <= factor).count();
        all += fold.len();
    }
    Some(covered as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_is_the_quantile_of_the_scores() {
        let scores: Vec<f64> = (1..=99).map(f64::from).collect();
        assert_eq!(factor(scores.clone(), 0.95), 95.0);
        assert_eq!(factor(scores, 0.5), 50.0);
    }

    #[test]
    fn few_scores_never_give_a_narrower_interval_than_the_normal_one() {
        assert!((factor(vec![0.1, 0.2], 0.95) - 1.96).abs() < 1e-3);
        assert_eq!(factor(vec![0.1, 7.0], 0.95), 7.0);
    }

    #[test]
    fn a_fold_is_judged_by_the_others() {
        let calm = vec![1.0; 50];
        assert_eq!(coverage(&[calm.clone(), calm.clone()], 0.9), Some(1.0));
        assert_eq!(coverage(&[calm.clone(), calm.clone(), vec![5.0; 50]], 0.6), Some(2.0 / 3.0));
        assert_eq!(coverage(&[calm], 0.9), None);
    }
}
