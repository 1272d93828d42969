// A picture whose pixels are colours with a byte each for opacity, red, green and blue.
package android.graphics

class Bitmap(private val width: Int, private val height: Int, private val colours: IntArray) {
    fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int) {
        for (row in 0 until height) {
            for (column in 0 until width) {
                pixels[offset + row * stride + column] = colours[(y + row) * this.width + x + column]
            }
        }
    }

    companion object {
        @JvmStatic
        fun createScaledBitmap(picture: Bitmap, width: Int, height: Int, filter: Boolean): Bitmap {
            check(picture.width == width && picture.height == height) { "pictures of another size need a phone" }
            return picture
        }
    }
}
