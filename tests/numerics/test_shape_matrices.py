import jax
import jax.numpy as jnp
import numpy as np
import pytest

from probcat.numerics.shape_matrices import (
    elliptical_radius,
    from_matrix,
    major_axis_angle,
    matrix_elements,
    semi_axes,
    semi_major,
    to_matrix,
    transformed,
)

SHAPES = np.array([[2.0, 0.3, -0.2, 1.0], [0.7, 0.0, 0.0, 4.0], [5.0, -0.6, 0.5, 2.0]]).T


def full(elements):
    xx, xy, yy = elements
    return np.array([[xx, xy], [xy, yy]])


def test_the_matrix_of_a_shape_has_the_semi_axes_and_the_angle_of_its_ellipse():
    for radius, g1, g2, _ in SHAPES.T:
        values, vectors = np.linalg.eigh(full(matrix_elements(radius, g1, g2)))
        np.testing.assert_allclose(np.sqrt(values[::-1]), semi_axes(radius, g1, g2))
        np.testing.assert_allclose(np.prod(values), radius**4)
        angle = major_axis_angle(g1, g2)
        if g1 or g2:
            along = abs(vectors[:, 1] @ [np.cos(angle), np.sin(angle)])
            np.testing.assert_allclose(along, 1.0)


def test_the_shape_of_a_matrix_is_the_one_that_the_matrix_was_made_of():
    shapes, proper = from_matrix(to_matrix(SHAPES), SHAPES[3])
    assert proper.all()
    np.testing.assert_allclose(shapes, SHAPES)
    _, proper = from_matrix(np.array([1.0, 2.0, 1.0]), 1.0)
    assert not proper


def test_a_linear_map_acts_on_the_matrix_from_both_sides():
    affine = np.array([[1.2, 0.4], [-0.3, 0.8]])
    seen = transformed(SHAPES, affine)
    for old, new in zip(SHAPES.T, seen.T, strict=True):
        expected = affine @ full(matrix_elements(*old[:3])) @ affine.T
        np.testing.assert_allclose(full(matrix_elements(*new[:3])), expected)
    np.testing.assert_array_equal(seen[3], SHAPES[3])


def test_every_shape_may_have_a_linear_map_of_its_own():
    affine = np.random.default_rng(1).normal(size=(2, 2, 3))
    together = transformed(SHAPES, affine)
    for number in range(3):
        np.testing.assert_allclose(
            together[:, number], transformed(SHAPES[:, number], affine[..., number])
        )


def test_a_shape_of_no_numbers_stays_without_numbers():
    shapes = np.where(np.arange(3) == 1, np.nan, SHAPES)
    seen = transformed(shapes, np.diag([2.0, 2.0]))
    assert np.isnan(seen[:, 1]).all()
    np.testing.assert_allclose(seen[0, [0, 2]], 2.0 * SHAPES[0, [0, 2]])


def test_points_of_the_ellipse_have_the_elliptical_radius_of_the_circle():
    radius, g1, g2 = 2.0, 0.3, -0.2
    angle = np.linspace(0.0, 2.0 * np.pi, 7)
    shear = np.array([[1.0 + g1, g2], [g2, 1.0 - g1]]) / np.sqrt(1.0 - g1**2 - g2**2)
    dx, dy = radius * shear @ np.stack([np.cos(angle), np.sin(angle)])
    np.testing.assert_allclose(elliptical_radius(dx, dy, g1, g2), radius)


@pytest.mark.parametrize("affine", [np.eye(2), np.array([[0.9, 0.3], [-0.2, 1.1]])])
def test_numpy_and_jax_agree_and_each_keeps_its_own_arrays(affine):
    single = jnp.asarray(SHAPES, jnp.float32)
    linear = jnp.asarray(affine, jnp.float32)
    for by_numpy, by_jax in (
        (semi_major(SHAPES.T), semi_major(single.T)),
        (to_matrix(SHAPES[:, 0]), to_matrix(single[:, 0])),
        (transformed(SHAPES[:, 0], affine), transformed(single[:, 0], linear)),
    ):
        assert isinstance(by_numpy, np.ndarray)
        assert isinstance(by_jax, jax.Array)
        np.testing.assert_allclose(by_numpy, by_jax, rtol=2e-5)
