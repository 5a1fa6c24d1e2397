"""One-to-one matching of many small problems at once, by auction."""

from __future__ import annotations

import numpy as np


def auction(
    columns: np.ndarray, benefits: np.ndarray, num_columns: int, epsilon: float = 0.02
) -> np.ndarray:
    """Match rows to columns one to one, with a total benefit near the largest possible.

    A row may stay unmatched, at benefit 0. Every unmatched row bids for the column with the
    greatest benefit minus price. The bid raises the price to the point at which the row's second
    best choice would be as good, plus `epsilon`. Since prices start at zero and a row can stay
    unmatched, the total is within `epsilon` per row of the optimum (Bertsekas 1988, Annals of
    Operations Research 14, 105, section 2: epsilon-complementary slackness). Independent problems
    can be solved in one call if they have no column in common.

    Parameters
    ----------
    columns : ndarray of int, shape (rows, candidates)
        Candidate columns of each row; -1 fills unused entries.
    benefits : ndarray of float, shape (rows, candidates)
        Benefit of each candidate, such as a log-likelihood ratio.
    num_columns : int
        Number of columns, which are counted from 0.
    epsilon : float
        Smallest rise of a price in one bid, in the unit of the benefits.

    Returns
    -------
    ndarray of int64, shape (rows,)
        The column of every row, -1 for an unmatched row. No column occurs twice.
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

        # Prices never fall: a row without a surplus now will never have one.
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
