from .fitting import train as train
