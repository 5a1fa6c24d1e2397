"""One-to-one matching of many small problems at once, by auction."""

from __future__ import annotations

import numpy as np


def auction(
    columns: np.ndarray, benefits: np.ndarray, num_columns: int, epsilon: float = 0.02
) -> np.ndarray:
    r"""Match rows to columns one to one, so that the total benefit is nearly the largest.

    Every row may stay unmatched, at benefit 0. Unmatched rows bid for the column with the best
    benefit less price; a bid raises the price until the second best choice would be as good, and
    `epsilon` more. Since prices start at zero and rows have a way out, the result is within
    `epsilon` a row of the optimum (Bertsekas 1988, Annals of Operations Research 14, 105,
    section 2: epsilon-complementary slackness). Independent problems are solved together
    when they use different columns.

    Parameters
    ----------
    columns : ndarray of int, shape (rows, candidates)
        Candidate columns of each row; -1 where there is none.
    benefits : ndarray of float, shape (rows, candidates)
        Gain of each candidate, as a log likelihood ratio.
    num_columns : int
        Columns are numbered from 0 to num_columns - 1.
    epsilon : float
        Smallest rise of a price.

    Returns
    -------
    ndarray of int64, shape (rows,)
        The column of every row, -1 where unmatched. No column occurs twice.
    """
    values = np.where(columns >= 0, benefits, -np.inf).astype(np.float64)
    price = np.zeros(num_columns)
    owner = np.full(num_columns, -1, dtype=np.int64)
    matched = np.full(len(columns), -1, dtype=np.int64)
    bidding = np.arange(len(columns)) if columns.shape[1] else np.arange(0)
    while bidding.size:
        surplus = values[bidding] - price[columns[bidding]]
        best = surplus.argmax(axis=1)
        pick = np.arange(bidding.size)
        first = surplus[pick, best]
        surplus[pick, best] = -np.inf
        second = np.maximum(surplus.max(axis=1), 0.0)

        # Prices never fall, so a row that gains nothing now is out for good.
        wants = first > 0
        bidding, best, first, second = bidding[wants], best[wants], first[wants], second[wants]
        target = columns[bidding, best]
        bid = price[target] + first - second + epsilon
        order = np.lexsort((-bid, target))
        winner = order[np.diff(target[order], prepend=-1) != 0]

        won = target[winner]
        losers = np.ones(bidding.size, dtype=bool)
        losers[winner] = False
        outbid = owner[won]
        outbid = outbid[outbid >= 0]
        matched[outbid] = -1
        owner[won] = bidding[winner]
        matched[bidding[winner]] = won
        price[won] = bid[winner]
        bidding = np.concatenate([bidding[losers], outbid])
    return matched
