"""`linkcodec gateway`: a web page as the microphone and speaker of a call over any link."""
