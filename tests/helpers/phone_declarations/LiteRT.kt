// What the pages use of LiteRT's Kotlin interface. The process at the other end of standard input and output computes:
// it gets the number of values and the values, and answers in the same way.
package com.google.ai.edge.litert

import android.content.res.AssetManager
import java.io.DataInputStream
import java.io.DataOutputStream

enum class Accelerator { NONE, CPU, GPU, NPU }

class Environment

class TensorBuffer : AutoCloseable {
    internal var values = FloatArray(0)

    fun writeFloat(data: FloatArray) { values = data.copyOf() }

    fun readFloat(): FloatArray = values.copyOf()

    override fun close() {}
}

class CompiledModel private constructor() : AutoCloseable {
    class Options(vararg val accelerators: Accelerator)

    fun createInputBuffers(signatureIndex: Int = 0): List<TensorBuffer> = listOf(TensorBuffer())

    fun createOutputBuffers(signatureIndex: Int = 0): List<TensorBuffer> = listOf(TensorBuffer())

    fun run(inputs: List<TensorBuffer>, outputs: List<TensorBuffer>, signatureIndex: Int = 0) {
        val values = inputs[0].values
        answers.writeInt(values.size)
        values.forEach { answers.writeFloat(it) }
        answers.flush()
        outputs[0].values = FloatArray(questions.readInt()) { questions.readFloat() }
    }

    override fun close() {}

    companion object {
        private val questions = DataInputStream(System.`in`.buffered())
        private val answers = DataOutputStream(System.out.buffered())

        @JvmStatic
        fun create(
            assetManager: AssetManager,
            assetName: String,
            options: Options,
            optionalEnv: Environment? = null,
        ): CompiledModel {
            assetManager.open(assetName).close()
            return CompiledModel()
        }
    }
}
