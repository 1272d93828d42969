"""The training engine: `model.fit` over blocks of many batches, each block one call of code compiled by XLA.

Stock Keras spends most of the training time of a small network outside the arithmetic: for each batch, it fetches from
tf.data, crosses from Python into TensorFlow and back, and calls the callbacks. Here, an element of the dataset is a
block of hundreds of batches, and one compiled loop trains on all of them. The model stays a plain `keras.Model`, and
`fit` stays Keras's own.

    model.compile(optimizer="adam", loss=..., metrics=["accuracy"])
    engine.prepare(model, batch_size=32)
    model.fit(engine.block_dataset(x, y, batch_size=32, seed=0), epochs=20)

Importing this package does not import TensorFlow; the first use of a name does.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
