"""Trains a Keras model of your own with the engine of kerasmlp, which runs many batches per call in compiled loops.

Run it with `python examples/your_own_keras_model.py`.
"""

import keras
from sklearn.datasets import load_digits

from kerasmlp.engine import block_dataset, prepare

keras.utils.set_random_seed(0)
features, labels = load_digits(return_X_y=True)
features = features.astype("float32")

# Any compiled model works. This one has a residual connection.
inputs = keras.Input((64,))
x = keras.layers.Rescaling(1 / 16)(inputs)
x = keras.layers.Dense(64, activation="relu")(x)
x = keras.layers.Add()([x, keras.layers.Dense(64, activation="relu")(x)])
model = keras.Model(inputs, keras.layers.Dense(10)(x))
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])

# Without XLA, because its compilation takes longer than this short training.
prepare(model, batch_size=32, xla=False)
history = model.fit(
    block_dataset(features[:1400], labels[:1400], batch_size=32, seed=0),
    validation_data=block_dataset(features[1400:], labels[1400:], batch_size=32, shuffle=False),
    epochs=20,
    shuffle=False,  # the blocks are already shuffled
    verbose=0,
)
print(f"{history.history['val_accuracy'][-1]:.1%} of {len(labels) - 1400} validation examples are correct")
