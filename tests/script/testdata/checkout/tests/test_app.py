import unittest

try:
    import app  # of the commands that share or copy app.py
except ImportError:
    from src import app


class Test(unittest.TestCase):
    def test_sum(self):
        self.assertEqual(app.add(1, 2), 3)
