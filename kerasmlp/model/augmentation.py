"""`Augmentation` shifts, rotates, scales, shears and warps images randomly in each step of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasmlp.engine.block_function import random_generator, targets_of_step
from kerasmlp.errors import InvalidValue, nearest


@dataclass(frozen=True)
class Strengths:
    """How much images are changed. Each value is drawn uniformly from [-strength, strength) for every image and step.

    The defaults suit handwriting: Simard et al. 2003, "Best Practices for Convolutional Neural Networks Applied to
    Visual Document Analysis", and Ciresan et al. 2010, arXiv:1003.0358, section 3.

    Attributes:
        shift: Share of height and width, in [0, 1): 0.07 moves an image of 28 pixels by up to 2. Defaults to `0.07`.
        rotation: Degrees, in [0, 180]. Defaults to `12.0`.
        scale: Share of the size, in [0, 1): 0.1 makes images 0.9 to 1.1 times as large. Defaults to `0.12`.
        shear: Pixels by which a row moves for each pixel of height, in [0, 1): the tangent of the angle, so 0.27 slants
            by 15 degrees. The upper edge moves by half of that share of the height. Defaults to `0.12`.
        elastic: Standard deviation of the displacement by the warp, as a share of the height, in [0, 1). The field of
            displacements is normal noise that is smoothed by a Gaussian. Defaults to `0.03`.
        smoothness: Standard deviation of that Gaussian, as a share of the height, in (0, 1). Defaults to `0.15`.
        halved: Indices of classes whose rotation and shear are half as strong, such as those of the digits 1 and 7, of
            which one becomes the other when it leans. For networks that learn one class for each image. By default
            none.
    """

    shift: float = 0.07
    rotation: float = 12.0
    scale: float = 0.12
    shear: float = 0.12
    elastic: float = 0.03
    smoothness: float = 0.15
    halved: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            InvalidValue: a value is outside its range.
        """
        for name in _NAMES:
            value, most = getattr(self, name), 180 if name == "rotation" else 1
            is_possible = 0 <= value <= most if name == "rotation" else 0 <= value < most
            if not is_possible or (name == "smoothness" and not value):
                least = "greater than 0" if name == "smoothness" else "at least 0"
                limit = f"at most {most}" if name == "rotation" else f"less than {most}"
                raise InvalidValue(f"The augmentation `{name}` needs to be {least} and {limit}; got {value}.")
        object.__setattr__(self, "halved", tuple(self.halved))  # a list in JSON
        if not all(isinstance(index, int) and index >= 0 for index in self.halved):
            raise InvalidValue(
                f"The augmentation `halved` needs indices of classes, such as (1, 7); got {self.halved}."
            )


_NAMES = [field.name for field in fields(Strengths) if field.name != "halved"]  # of what is drawn


def parse_strengths(text: str, class_names: Sequence[str] = ()) -> Strengths:
    """Returns the strengths in a comma-separated list of `name=value`.

    Strengths that are not in the list are 0, except `smoothness`. An empty text means the default strengths.

    Args:
        text: The list.
        class_names: Name of each class, which `halved` takes with a plus between them, as in `halved=1+7`.

    Raises:
        InvalidValue: a name or a class is unknown, or a value is not a number in its range.

    Example:
        >>> parse_strengths("rotation=15,shift=0.1")
        Strengths(shift=0.1, rotation=15.0, scale=0.0, shear=0.0, elastic=0.0, smoothness=0.15, halved=())
    """
    if not text:
        return Strengths()
    names = [*_NAMES, "halved"]
    values: dict[str, Any] = {name: 0.0 for name in _NAMES if name != "smoothness"}
    for part in text.split(","):
        name, _, value = part.partition("=")
        name = name.strip()
        if name not in names:
            raise InvalidValue(
                f"There is no augmentation `{name}`.{nearest(name, names)} There are {', '.join(names)}; write them as "
                "in `rotation=15,shift=0.1`."
            )
        if name == "halved":
            values[name] = _class_indices(value, class_names)
            continue
        try:
            values[name] = float(value)
        except ValueError:
            raise InvalidValue(f"The augmentation `{name}` needs a number; got `{value}`.") from None
    return Strengths(**values)


def _class_indices(text: str, class_names: Sequence[str]) -> tuple[int, ...]:
    """Returns the indices of classes in a list of names with a plus between them."""
    if not class_names:
        raise InvalidValue(f"The augmentation `halved={text}` is for images of one class each; these have none.")
    names = [text] if text in class_names else [name.strip() for name in text.split("+")]
    for name in names:
        if name not in class_names:
            raise InvalidValue(
                f"The augmentation `halved` names the class `{name}`, which the data do not have."
                f"{nearest(name, class_names)} Write it as in `halved=1+7`."
            )
    return tuple(class_names.index(name) for name in names)


@keras.saving.register_keras_serializable("kerasmlp")
class Augmentation(keras.layers.Layer):
    """Changes each image of a batch differently while its model trains. Otherwise, images pass through unchanged.

    The layer maps `(batch, height, width)` or `(batch, height, width, channels)` to float32 of the same shape. It has a
    seed of its own, whose state is saved with the other variables of the model. Import `kerasmlp.model.augmentation`
    before you load a Keras model with this layer. The models that kerasmlp exports do not contain it. With `halved`
    classes, only `kerasmlp.train` and models that `kerasmlp.engine.prepare` returned can train it, because these tell
    it the class of each image.

    The layer consists of gathers and matrix products, which XLA compiles into the training step.

    Args:
        strengths: How much images are changed. Defaults to `Strengths()`.
        fill: Value of pixels that come from outside of an image. Defaults to `0.0`.
        seed: Seed of the random changes. Defaults to `0`.
        **options: Options of every Keras layer, such as `name`.

    Example:
        >>> import numpy as np
        >>> from kerasmlp.model.augmentation import Augmentation, Strengths
        >>> layer = Augmentation(Strengths(rotation=20.0), seed=1)
        >>> layer(np.zeros((2, 28, 28), np.uint8), training=True).shape
        TensorShape([2, 28, 28])
    """

    # Keras writes this name into every model with the layer. Unfinished runs and `.keras` files have it.
    __module__ = "kerasmlp.augmentation"

    def __init__(
        self, strengths: Strengths | dict[str, Any] | None = None, *, fill: float = 0.0, seed: int = 0, **options: Any
    ) -> None:
        """Creates the layer; Keras passes strengths as a dictionary when it loads a model."""
        super().__init__(**options)
        self.strengths = Strengths(**strengths) if isinstance(strengths, dict) else strengths or Strengths()
        self.fill, self.seed = fill, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """Returns the images, changed if `training`.

        Raises:
            InvalidValue: some classes are `halved`, and the class of each image is not known.
        """
        images = tf.cast(images, tf.float32)
        if not training:
            return images
        height, width = images.shape[1:3]
        pixels = tf.reshape(images, (tf.shape(images)[0], height * width, -1))  # (batch, pixels, channels)
        rows, columns = self._sources(tf.shape(images)[0], height, width)
        return tf.reshape(_sample(pixels, rows, columns, height, width, self.fill), tf.shape(images))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer, with which Keras saves it."""
        strengths = asdict(self.strengths)
        if not self.strengths.halved:  # the description of a model is part of unfinished runs of earlier versions
            del strengths["halved"]
        return {**super().get_config(), "strengths": strengths, "fill": self.fill, "seed": self.seed}

    def _sources(self, count: Any, height: int, width: int) -> tuple[Any, Any]:
        """Returns the row and the column, float32 `(batch, pixels)`, that each pixel of each image is taken from."""
        s = self.strengths
        draw = self._uniform(count)  # (batch, 6) in [-1, 1)
        share = self._share_of_slant()
        angle = draw[:, 0:1] * float(np.deg2rad(s.rotation)) * share
        scale_y, scale_x = 1 / (1 + s.scale * draw[:, 1:2]), 1 / (1 + s.scale * draw[:, 2:3])
        shear = s.shear * draw[:, 3:4] * share
        y, x = (np.reshape(axis, (1, -1)).astype(np.float32) for axis in np.mgrid[0:height, 0:width])
        y, x = y - (height - 1) / 2, x - (width - 1) / 2
        turned_y = tf.cos(angle) * y - tf.sin(angle) * x
        turned_x = tf.sin(angle) * y + tf.cos(angle) * x
        rows = scale_y * turned_y + s.shift * height * draw[:, 4:5] + (height - 1) / 2
        columns = scale_x * (turned_x + shear * turned_y) + s.shift * width * draw[:, 5:6] + (width - 1) / 2
        if s.elastic:
            field = self._field(count, height, width)  # (batch, 2, pixels)
            rows, columns = rows + s.elastic * height * field[:, 0], columns + s.elastic * height * field[:, 1]
        return rows, columns

    def _share_of_slant(self) -> Any:
        """Returns what rotation and shear are multiplied by: 1, or float32 `(batch, 1)` if some classes are halved."""
        if not self.strengths.halved:
            return 1.0
        targets = targets_of_step()
        if targets is None:
            raise InvalidValue(
                "An augmentation with `halved` classes needs the class of each image, which only a training by "
                "`kerasmlp.train` or `kerasmlp.engine.prepare` tells it. Leave `halved` out for another one."
            )
        targets = tf.convert_to_tensor(targets)
        if targets.shape.rank != 1 or not targets.dtype.is_integer:
            raise InvalidValue(
                "An augmentation with `halved` classes needs a class index for each image, an integer `(batch,)`; got "
                f"targets of {targets.dtype.name} and shape {tuple(targets.shape)}. Leave `halved` out."
            )
        is_halved = tf.reduce_any(targets[:, tf.newaxis] == tf.constant(self.strengths.halved, targets.dtype), axis=1)
        return tf.where(is_halved[:, tf.newaxis], 0.5, 1.0)

    def _field(self, count: Any, height: int, width: int) -> Any:
        # After smoothing, noise on a coarse grid is as good as noise for every pixel, at a tenth of the cost.
        along_rows, along_columns = (_smoothing(size, self.strengths.smoothness * height) for size in (height, width))
        shape = (count, 2, along_rows.shape[1], along_columns.shape[1])
        noise = tf.random.stateless_normal(shape, self._next_seed(), alg=random_generator())
        smooth = tf.einsum("ij,bcjk,lk->bcil", tf.constant(along_rows), noise, tf.constant(along_columns))
        return tf.reshape(smooth, (count, 2, height * width))

    def _uniform(self, count: Any) -> Any:
        return tf.random.stateless_uniform((count, 6), self._next_seed(), -1.0, 1.0, alg=random_generator())

    def _next_seed(self) -> Any:
        return tf.cast(self.seed_generator.next(), tf.int32)


def _smoothing(size: int, deviation: float) -> np.ndarray:
    """Returns a Gaussian filter from knots to pixels, float32 `(size, knots)`, that keeps the variance of noise.

    The distance between knots is at most the standard deviation. The outer knots are one deviation outside.
    """
    deviation = max(deviation, 0.5)
    knots = np.linspace(-deviation, size - 1 + deviation, int(np.ceil((size - 1) / deviation)) + 3)
    weights = np.exp(-0.5 * ((np.arange(size)[:, np.newaxis] - knots) / deviation) ** 2)
    smoothing: np.ndarray = (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)
    return smoothing


def _sample(pixels: Any, rows: Any, columns: Any, height: int, width: int, fill: float) -> Any:
    """Returns pixels at fractional positions by bilinear interpolation: `(batch, pixels, channels)`."""
    top, left = tf.floor(rows), tf.floor(columns)
    total = 0.0
    for row, row_weight in ((top, top + 1 - rows), (top + 1, rows - top)):
        for column, column_weight in ((left, left + 1 - columns), (left + 1, columns - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = tf.clip_by_value(row, 0, height - 1) * width + tf.clip_by_value(column, 0, width - 1)
            value = tf.gather(pixels, tf.cast(index, tf.int32), batch_dims=1)
            value = tf.where(inside[..., tf.newaxis], value, fill)
            total += (row_weight * column_weight)[..., tf.newaxis] * value
    return total
